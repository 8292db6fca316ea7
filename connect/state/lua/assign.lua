-- Count a request on a worker.
-- KEYS: 1 and 2 as in indexes, 3 worker capacity, 4 requests on the worker,
--       5 worker of the request
-- ARGV: 1 to 4 as in indexes, 5 worker hash, 6 request id, 7 instance id,
--       8 lifetime of the mapping (ms), 9 lifetime of capacity keys (ms)
-- Returns 'assigned', 'unlimited' (nothing is counted) or 'full'.

-- include: capacity_set
-- include: indexes

local limit = limit_of(KEYS[3])
if not limit then
  return 'unlimited'
end
drop_expired(KEYS[4], now_ms)
local _, room = room_for(KEYS[4], limit, ARGV[6], now_ms)
if room then
  local expiry_ms = now_ms + tonumber(ARGV[8])
  assign(KEYS[4], KEYS[5], ARGV[6], ARGV[7], expiry_ms, ARGV[8], ARGV[9])
end
settle(ARGV[5])
return room and 'assigned' or 'full'
