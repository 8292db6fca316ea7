-- Store the status and heartbeat of a connection; never create one.
-- KEYS: 1 and 2 as in indexes, 3 worker capacity, 4 requests on the worker
-- ARGV: 1 to 4 as in indexes, 5 connection id, 6 worker hash, 7 status or '' for 0,
--       8 heartbeat as JSON or '' for none, 9 when to read the record again unless the next
--       heartbeat comes (unix ms), 10 lifetime of capacity keys (ms), '' if not limited
-- Returns 1, or 0 if the connection is not stored, or not in a form that can be changed.

-- include: capacity_set
-- include: indexes
-- include: json_members

local stored = redis.call('HGET', KEYS[1], ARGV[5])
if not stored or not decode(stored).id then
  return 0
end
local changed = with_members(stored, { { 'status', ARGV[7] }, { 'last_heartbeat_at', ARGV[8] } })
redis.call('HSET', KEYS[1], ARGV[5], changed)
index_connection(parse_connection(ARGV[5], changed), ARGV[6], tonumber(ARGV[9]))
if ARGV[10] ~= '' and redis.call('PEXPIRE', KEYS[3], ARGV[10]) == 1 then
  redis.call('PEXPIRE', KEYS[4], ARGV[10])
end
if redis.call('ZSCORE', busy, ARGV[6]) then
  settle(ARGV[6])
end
return 1
