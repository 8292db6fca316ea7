-- Keep the collector's office, for the one who holds it.
-- KEYS: 1 office
-- ARGV: 1 owner, 2 for how long from now (ms)
-- Returns 1, or 0 if somebody else holds it, or nobody.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
