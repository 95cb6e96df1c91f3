"""The Lua scripts that make each step of a leader one atomic step in Redis.

Every script that writes first checks that the caller's fencing token is the newest and that no
other instance holds the lease. So a leader that was away for longer than its lease (a stopped
process, a lost network) can do no harm when it wakes up.
"""

from __future__ import annotations

_GUARD = """
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return -1 end
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return -1 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
"""

#: KEYS lease fence; ARGV holder, lease in ms.
#: Returns {token, 0}, or {0, ms until the lease of somebody else ends}. Who holds the lease
#: already gets a new token, so that nothing sent on a former connection counts any more.
ACQUIRE = """
local holder = redis.call('GET', KEYS[1])
if not holder or holder == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return {redis.call('INCR', KEYS[2]), 0}
end
return {0, redis.call('PTTL', KEYS[1])}
"""

#: KEYS lease; ARGV holder. Gives the lease back at once.
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

#: KEYS lease fence; ARGV holder, token, lease in ms. Returns 1, or -1: no longer the leader.
RENEW = _GUARD + "return 1"

#: KEYS lease fence applied events, then the keys of the operations.
#: ARGV holder, token, lease in ms, id of the batch's last journal entry, length of the event
#: stream, number of events, the events; then each operation as command, number of its key,
#: number of arguments, the arguments.
#: Returns 1; 0: this batch is published already; -1: no longer the leader.
PUBLISH = (
    _GUARD
    + """
if ARGV[6] ~= '0' and redis.call('GET', KEYS[3]) == ARGV[4] then return 0 end
local last = 6 + tonumber(ARGV[6])
for i = 7, last do
  redis.call('XADD', KEYS[4], '*', 'm', ARGV[i])
end
if last > 6 then redis.call('XTRIM', KEYS[4], 'MAXLEN', '~', ARGV[5]) end
local i = last + 1
while i <= #ARGV do
  local n = tonumber(ARGV[i + 2])
  redis.call(ARGV[i], KEYS[tonumber(ARGV[i + 1])], unpack(ARGV, i + 3, i + 2 + n))
  i = i + 3 + n
end
redis.call('SET', KEYS[3], ARGV[4])
return 1
"""
)

#: KEYS lease fence snapshot journal; ARGV holder, token, lease in ms, id, bytes, oldest id to
#: keep. Returns 1, or -1: no longer the leader.
SNAPSHOT = (
    _GUARD
    + """
redis.call('HSET', KEYS[3], 'id', ARGV[4], 'data', ARGV[5])
redis.call('XTRIM', KEYS[4], 'MINID', '~', ARGV[6])
return 1
"""
)
