-- Included: counting requests on workers. A worker's set holds request ids by expiry in
-- unix seconds; scores above 1e11 were written in milliseconds by others.

local function drop_expired(set, now_ms)
  redis.call('ZREMRANGEBYSCORE', set, '-inf', string.format('%.3f', now_ms / 1000))
  redis.call('ZREMRANGEBYSCORE', set, '(100000000000', string.format('%.0f', now_ms))
end

-- When the first of the requests expires, in unix seconds; nil if there are none.
local function earliest_expiry(set)
  local first = tonumber(redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')[2])
  local bounds = { set, '(100000000000', '+inf', 'WITHSCORES', 'LIMIT', 0, 1 }
  local in_ms = tonumber(redis.call('ZRANGEBYSCORE', unpack(bounds))[2])
  if in_ms and (first > 100000000000 or in_ms / 1000 < first) then
    return in_ms / 1000
  end
  return first
end

-- The worker's limit; nil if it has none.
local function limit_of(capacity)
  local limit = tonumber(redis.call('GET', capacity) or '')
  if limit and limit > 0 then
    return limit
  end
  return nil
end

-- How many requests the worker has, and whether it can take this one, which a worker that
-- has it already always can.
local function room_for(set, limit, request, now_ms)
  local count = redis.call('ZCARD', set)
  if count >= limit then
    drop_expired(set, now_ms)
    count = redis.call('ZCARD', set)
  end
  return count, count < limit or redis.call('ZSCORE', set, request) ~= false
end

local function assign(set, mapping, request, instance, expiry_ms, mapping_ttl, capacity_ttl)
  redis.call('ZADD', set, string.format('%.0f', math.ceil(expiry_ms / 1000)), request)
  redis.call('PEXPIRE', set, capacity_ttl)
  redis.call('SET', mapping, instance, 'PX', mapping_ttl)
end

-- False, and nothing is done, if the request is mapped to another instance.
local function unassign(set, capacity, mapping, request, instance, capacity_ttl)
  local mapped = redis.call('GET', mapping)
  if mapped and mapped ~= instance then
    return false
  end
  redis.call('ZREM', set, request)
  redis.call('DEL', mapping)
  redis.call('PEXPIRE', set, capacity_ttl)
  redis.call('PEXPIRE', capacity, capacity_ttl)
  return true
end
