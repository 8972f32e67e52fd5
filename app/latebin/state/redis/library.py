"""The functions in Lua that several scripts have in common.

A script is one step for Redis: nothing else happens between its commands. Times are microseconds of Redis's own clock.
The first arguments of every script are the same; `Membership.run` gives them. Every key expires some time after its
last use. So even without any process, nothing stays for ever.

Keys, each behind the prefix:
    instances: the processes, by the times of their last signs of life.
    own:INSTANCE: all that belongs to a process: its places and its watches.
    gone:INSTANCE: the messages to a process that it has not confirmed yet.
    to:INSTANCE: the channel of these messages.
    gates, pools: the names in use, by the times of their last requests.
    gate:NAME, pool:NAME: the properties, those of the latest request.
    gate:NAME:line, pool:NAME:line: the waiting places, by the numbers of their arrivals.
    gate:NAME:lost: the places of processes that gave no sign of life; each may be back.
    gate:NAME:watches: the watches, with the number that each waits for.
    pool:NAME:busy: the places in service.
    generation: the time when this data began; a process that knows another one has seen this data get lost.
    beat, grace, recovering: the last sign of life of any process, and the times until which the absent are spared.
"""

from typing import Final

from latebin.state.redis.connection import PREFIX, Script

_COMMON: Final = """
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local me, kept, lifetime, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

local function key(...) return 'PREFIX' .. table.concat({...}, ':') end
local function text(number) return string.format('%.0f', number) end
local function put(name) call('EXPIRE', name, kept) end

local instances, gates, pools = key('instances'), key('gates'), key('pools')
local function own(instance) return key('own', instance) end
local function owner(member) return string.match(member, '^(%w+):(%d+)') end
local function member_of(instance) return call('ZSCORE', instances, instance) end

-- Later arrivals have greater numbers, also behind a restart of Redis without its data.
local function stamp()
    local number = math.max(now, (tonumber(call('GET', key('stamp'))) or 0) + 1)
    call('SET', key('stamp'), text(number), 'EX', kept)
    return text(number)
end

-- A message is kept until the process confirms it: publishing reaches only what listens just then.
local function deliver(instance, messages)
    local gone = key('gone', instance)
    for _, message in ipairs(messages) do call('SADD', gone, message) end
    put(gone)
    call('PUBLISH', key('to', instance), table.concat(messages, '\\n'))
end

local function have(instance, item)
    call('SADD', own(instance), item)
    put(own(instance))
end

local function gate(name) return key('gate', name) end
local function line(name) return key('gate', name, 'line') end
local function lost(name) return key('gate', name, 'lost') end
local function watches(name) return key('gate', name, 'watches') end
local function is_used(name) return call('EXISTS', line(name), watches(name)) > 0 end

local function forget_gate(name)
    call('DEL', gate(name))
    call('ZREM', gates, name)
end

local function has_gate(name)
    local touched = call('ZSCORE', gates, name)
    if not touched then return false end
    if tonumber(touched) + lifetime > now or is_used(name) then return true end
    forget_gate(name)
    return false
end

local function is_open(name) return has_gate(name) and call('HGET', gate(name), 'open') == '1' end

local function is_room_for_gate(name, most)
    if has_gate(name) or call('ZCARD', gates) < most then return true end
    for _, old in ipairs(call('ZRANGEBYSCORE', gates, '-inf', text(now - lifetime))) do has_gate(old) end
    return call('ZCARD', gates) < most
end

local function touch_gate(name, field, value)
    call('ZADD', gates, text(now), name)
    if field then call('HSET', gate(name), field, value) end
    for _, each in ipairs({gates, gate(name), line(name), watches(name)}) do put(each) end
end

-- A closed gate at which nothing waits is forgotten: a new one is the same.
local function settle_gate(name)
    if not is_used(name) and call('HGET', gate(name), 'open') ~= '1' then forget_gate(name) end
end

local function notify_watches(name)
    local waiting, found = call('ZCARD', line(name)), call('HGETALL', watches(name))
    for i = 1, #found, 2 do
        if tonumber(found[i + 1]) <= waiting then
            local instance, number = owner(found[i])
            call('HDEL', watches(name), found[i])
            call('SREM', own(instance), 'w ' .. name .. ' ' .. found[i])
            deliver(instance, {'w ' .. number .. ' ' .. waiting})
        end
    end
end

local function let_go(name, members)
    local messages = {}
    for _, member in ipairs(members) do
        local instance, number = owner(member)
        call('ZREM', line(name), member)
        call('SREM', own(instance), 'g ' .. name .. ' ' .. member)
        messages[instance] = messages[instance] or {}
        table.insert(messages[instance], 'g ' .. number)
    end
    for instance, each in pairs(messages) do deliver(instance, each) end
    return #members
end

-- The places of absent processes count for nothing, but they are let go with the others if the processes are back.
local function let_lost_go(name)
    for _, member in ipairs(call('SMEMBERS', lost(name))) do
        local instance, number = owner(member)
        call('SREM', own(instance), 'g ' .. name .. ' ' .. member)
        deliver(instance, {'g ' .. number})
    end
    call('DEL', lost(name))
end

local function seed_of(member) return string.match(member, '^%w+:%d+:(.*)$') end

-- Puts members, given in the order of arrival, into the order of their gate. Lua in Redis has no BLAKE2b: the numbers
-- of a random order come from the caller, for the seed of the first member. Without them the result is nil.
local function arranged(members, order, drawn, uniforms)
    if order == 'fifo' or #members == 0 then return members end
    local places = {}
    if order == 'lifo' then
        for i = #members, 1, -1 do table.insert(places, members[i]) end
        return places
    end
    local count = 0
    for uniform in string.gmatch(uniforms, '%S+') do
        count = count + 1
        if members[count] then places[count] = {tonumber(uniform), members[count]} end
    end
    if drawn ~= seed_of(members[1]) or count < #members then return nil end
    table.sort(places, function(one, other) return one[1] < other[1] end)
    for i, place in ipairs(places) do places[i] = place[2] end
    return places
end

local function draw_for(members) return {'draw', seed_of(members[1]), #members} end

local function pool(name) return key('pool', name) end
local function busy(name) return key('pool', name, 'busy') end
local function queue(name) return key('pool', name, 'line') end
local function is_recovering() return (tonumber(call('GET', key('recovering'))) or 0) > now end

-- Lets the line into service, first come first served.
local function serve(name)
    local servers = tonumber(call('HGET', pool(name), 'servers')) or 0
    local free = is_recovering() and 0 or servers - call('SCARD', busy(name))
    if free > 0 then
        for _, member in ipairs(call('ZRANGE', queue(name), 0, free - 1)) do
            local instance, number = owner(member)
            call('ZREM', queue(name), member)
            call('SADD', busy(name), member)
            deliver(instance, {'p ' .. number})
        end
    end
    for _, each in ipairs({pools, pool(name), busy(name), queue(name)}) do put(each) end
    if call('EXISTS', busy(name), queue(name)) == 0 then
        call('DEL', pool(name))
        call('ZREM', pools, name)
    end
end

local journals, counts, entries_of_all = key('journals'), key('journals', 'counts'), key('journals', 'total')
local function journal(name) return key('journal', name) end
local function entries(name) return key('journal', name, 'entries') end
local function readers(name) return key('journal', name, 'watches') end

local function forget_journal(name)
    local count = call('HGET', counts, name)
    -- Without entries there may be no total: then it would begin here, and never expire.
    if count then call('DECRBY', entries_of_all, count) end
    call('HDEL', counts, name)
    call('ZREM', journals, name)
    call('DEL', journal(name), entries(name))
end

local function forget_old_journals()
    for _, name in ipairs(call('ZRANGEBYSCORE', journals, '-inf', text(now - lifetime))) do forget_journal(name) end
end

local function notify_readers(name)
    local ended, found = tonumber(call('HGET', journal(name), 'ended')) or 0, call('HGETALL', readers(name))
    for i = 1, #found, 2 do
        if tonumber(found[i + 1]) <= ended then
            local instance, number = owner(found[i])
            call('HDEL', readers(name), found[i])
            call('SREM', own(instance), 'v ' .. name .. ' ' .. found[i])
            deliver(instance, {'v ' .. number})
        end
    end
end

-- `at` is the time of the end by the clock of the process, `took` the microseconds since the acceptance; both are nil
-- for the end of a process.
local function end_entry(name, id, how, at, took)
    call('SREM', own(string.match(id, '^%w+')), 'j ' .. name .. ' ' .. id)
    local begun = call('HGET', entries(name), 'begun ' .. id)
    if not begun or call('HSETNX', entries(name), 'ended ' .. id, how) == 0 then return end
    call('HINCRBY', journal(name), 'pending', -1)
    call('HINCRBY', journal(name), 'ended', 1)
    if call('HGET', journal(name), 'last') == id then
        -- The client knows the end before Redis does: what counts is the end itself.
        local ended = took and math.min(now, string.match(begun, '^%d+ (%d+)') + took) or now
        call('HSET', journal(name), 'last_end', text(ended), 'last_end_there', at or '')
    end
    notify_readers(name)
end

-- Takes an entry out whose end was lost: its journal is not complete.
local function drop_entry(name, id)
    if call('HEXISTS', entries(name), 'ended ' .. id) == 1 then return end
    if call('HDEL', entries(name), 'begun ' .. id, 'planned ' .. id) == 0 then return end
    call('HINCRBY', journal(name), 'pending', -1)
    call('HSET', journal(name), 'dropped', 1)
    call('HINCRBY', counts, name, -1)
    call('DECRBY', entries_of_all, 1)
end

local function give_up_one(item, absent)
    local kind, name, member = string.match(item, '^(%a) (%S+) (%S+)')
    if kind == 'g' then
        if call('ZREM', line(name), member) == 1 and absent then
            call('SADD', lost(name), member)
            put(lost(name))
            have(string.match(member, '^%w+'), item)
        elseif not absent then
            call('SREM', lost(name), member)
        end
        settle_gate(name)
    elseif kind == 'w' then
        call('HDEL', watches(name), member)
        settle_gate(name)
    elseif kind == 'p' then
        call('SREM', busy(name), member)
        call('ZREM', queue(name), member)
        return name
    elseif kind == 'j' and absent then
        end_entry(name, member, '["broken",0,null,null,null]')
    elseif kind == 'j' then
        drop_entry(name, member)
    elseif kind == 'v' then
        call('HDEL', readers(name), member)
    end
end

-- Gives up what belongs to processes, given as a list of tables. `absent` is whether they gave no sign of life: what
-- waits at a gate may be back.
local function give_up(owners, absent)
    local served = {}
    for _, each in ipairs(owners) do
        for _, item in ipairs(each.items) do
            call('SREM', own(each.instance), item)
            local name = give_up_one(item, absent)
            if name then served[name] = true end
        end
    end
    -- Only now: the lines may have had other places of the same processes.
    for name in pairs(served) do serve(name) end
end
"""

_MEMBERS_ONLY: Final = "if not member_of(me) then return {'join'} end\n"


def script(text: str, *, members_only: bool = False) -> Script:
    """Make a script from its own part.

    Args:
        text: its own part; its arguments begin with ARGV[5].
        members_only: whether it does nothing but return `join` to a process that Redis does not know.
    """
    return Script(_COMMON.replace("PREFIX", PREFIX) + (_MEMBERS_ONLY if members_only else "") + text)


GIVE_UP: Final = script("""
local items = {}
for i = 5, #ARGV do table.insert(items, ARGV[i]) end
give_up({{instance = me, items = items}}, false)
return 0
""")
"""The script that gives up places and watches of a process; each is kind, name and member."""
