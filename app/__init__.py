"""An HTTP service that answers late, on purpose and on time, written in two styles."""
