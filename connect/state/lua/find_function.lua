-- Find the app that serves a function.
-- KEYS: 1 apps, 2 app ids by slug
-- ARGV: 1 slug
-- Returns app JSON, or nil.

local app = redis.call('HGET', KEYS[2], ARGV[1])
if not app then
  return false
end
return redis.call('HGET', KEYS[1], app)
