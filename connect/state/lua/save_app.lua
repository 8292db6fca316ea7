-- Store an app of the registry with its function slugs.
-- KEYS: 1 apps, 2 app ids by slug, 3 slugs of this app
-- ARGV: 1 app id, 2 app JSON, then the slugs
-- Returns 1.

local slugs = {}
for i = 3, #ARGV do
  slugs[ARGV[i]] = true
end
for _, slug in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  if not slugs[slug] then
    redis.call('SREM', KEYS[3], slug)
    if redis.call('HGET', KEYS[2], slug) == ARGV[1] then
      redis.call('HDEL', KEYS[2], slug)
    end
  end
end
for slug in pairs(slugs) do
  redis.call('SADD', KEYS[3], slug)
  redis.call('HSET', KEYS[2], slug, ARGV[1])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
