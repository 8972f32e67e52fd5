"""The pages of the reference, in the order in which they are listed."""

from typing import Final

TOPICS: Final = {
    "endpoints": "every path, its methods, and what an answer has",
    "parameters": "everything that one request can ask for",
    "delays": "the delay language: durations, distributions, mixes, recorded traces",
    "seeds": "the same draws again, and the function that defines them",
    "keys": "one test's own sequence: fail twice, then succeed",
    "gates": "answers that wait until a test lets them go",
    "queue": "a pool of servers with a line, as a real service has",
    "journal": "what the client did: its attempts, gaps and timeouts",
    "python": "a pytest plugin and a client: gates, scenarios and keys from a test",
    "predictions": "percentiles and the share that a timeout cuts, before any request",
    "faults": "answers that break, and statuses for a share of the requests",
    "streams": "server-sent events, NDJSON, rates, and what a proxy does to them",
    "scenarios": "plans with a name, for any client and any path, changed while the service runs",
    "via": "a real service behind a delay",
    "httpbin": "coming from httpbin or go-httpbin: the two endpoints, and every difference",
    "toxiproxy": "coming from Toxiproxy: toxics as scenarios",
    "wiremock": "coming from WireMock: stubs as scenarios and rules",
    "compare": "Klein or raw: in a browser, by a command, in figures",
    "settings": "every flag and its environment variable",
    "limits": "slow, large and too many requests",
    "http2": "TLS and HTTP/2",
    "proxies": "the client's address behind a proxy",
    "drain": "health, readiness, and stopping without a lost answer",
    "log": "the line of each request, and its id",
    "metrics": "every figure for Prometheus",
    "container": "the image: build it, run it, pin what it installs",
    "replicas": "many processes and many machines, and how many",
    "state": "keys, gates and the like in Redis, for many processes as one",
    "measurements": "how late an answer is, beside other servers",
    "contributing": "for contributors: which file to touch, and how to run the tests",
    "changes": "what changed for users, newest first",
}
"""The subject of each page by its name; the page is `latebin/docs/NAME.md`."""
