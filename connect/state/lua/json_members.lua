-- Included: changing members of a JSON object without touching the others. A number that
-- went through cjson could come back rounded.

-- The position after a string that begins here.
local function after_string(json, at)
  local from = at + 1
  while true do
    local found = string.find(json, '["\\]', from)
    if string.sub(json, found, found) == '"' then
      return found + 1
    end
    from = found + 2
  end
end

-- The position after a value that begins here.
local function after_value(json, at)
  local first = string.sub(json, at, at)
  if first == '"' then
    return after_string(json, at)
  end
  if first ~= '{' and first ~= '[' then
    return string.find(json, '[%s,}]', at)
  end
  local depth = 0
  repeat
    at = string.find(json, '["%[%]{}]', at)
    local found = string.sub(json, at, at)
    if found == '"' then
      at = after_string(json, at)
    else
      depth = depth + ((found == '{' or found == '[') and 1 or -1)
      at = at + 1
    end
  until depth == 0
  return at
end

-- The object with some members replaced, where they stand, or added at its end; those
-- whose new value is '' are left out. It must be one that cjson can decode.
-- changes: a list of {name, JSON of the value or ''}
local function with_members(json, changes)
  local values, parts = {}, {}
  for _, change in ipairs(changes) do
    values[change[1]] = change[2]
  end
  local function put(name)
    if values[name] ~= '' then
      parts[#parts + 1] = '"' .. name .. '":' .. values[name]
    end
    values[name] = ''
  end
  local at = string.find(json, '["}]', 2)
  while string.sub(json, at, at) == '"' do
    local name_end = after_string(json, at)
    local name = string.sub(json, at + 1, name_end - 2)
    local value_at = string.find(json, '[^%s:]', name_end)
    local value_end = after_value(json, value_at)
    if values[name] then
      put(name)
    else
      parts[#parts + 1] = string.sub(json, at, name_end - 1)
        .. ':'
        .. string.sub(json, value_at, value_end - 1)
    end
    at = string.find(json, '["}]', value_end)
  end
  for _, change in ipairs(changes) do
    put(change[1])
  end
  return '{' .. table.concat(parts, ',') .. '}'
end
