-- Included, after indexes: whether a record can be read.

-- False where there is no JSON object with fields; people are to look at such a record.
local function is_readable(stored)
  local ok, value = pcall(cjson.decode, stored or '')
  return ok and type(value) == 'table' and next(value) ~= nil
end

local function is_there(id)
  return is_readable(redis.call('HGET', KEYS[1], id))
end
