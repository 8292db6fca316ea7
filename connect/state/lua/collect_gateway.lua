-- Remove a gateway without heartbeats, unless one came meanwhile.
-- KEYS: 1 gateways
-- ARGV: 1 gateway id, 2 the last heartbeat up to which a gateway is garbage (unix ms)
-- Returns 1 if it was removed, else 0.

local ok, gateway = pcall(cjson.decode, redis.call('HGET', KEYS[1], ARGV[1]) or '')
if not ok or type(gateway) ~= 'table' then
  return 0
end
if (tonumber(gateway.last_heartbeat) or 0) > tonumber(ARGV[2]) then
  return 0
end
return redis.call('HDEL', KEYS[1], ARGV[1])
