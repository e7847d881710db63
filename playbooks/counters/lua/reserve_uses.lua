-- Checks a user's limits and reserves a use under each.
-- KEYS: life, uses. ARGV: token, since, decision, now, expires, keep (ms), then key, limit, start, 1 if it counts of each limit.
-- A use is a field "decision US rule" with the value "used_at expires_at"; a committed one has no second part.
local life = redis.call('GET', KEYS[1])
if life ~= RUN .. ' ' .. ARGV[1] then return {'epoch', RUN, life or ''} end
local known = redis.call('HMGET', KEYS[2], 'token', 'since', 'span')
if known[1] ~= ARGV[1] or tonumber(known[2]) > tonumber(ARGV[2]) then return {'load'} end

local decision, now = ARGV[3], tonumber(ARGV[4])
local forgotten = now - tonumber(known[3])
local limits = {}
for i = 7, #ARGV, 4 do
  limits[ARGV[i]] = {start = tonumber(ARGV[i + 2]), count = 0, doubtful = {}}
end
local all, old = redis.call('HGETALL', KEYS[2]), {}
for i = 1, #all, 2 do
  local whose, rule = string.match(all[i], '^(.-)\31(.*)$')
  if whose then
    local used, ends = string.match(all[i + 1], '^(%-?%d+) (%-?%d*)$')
    local limit = limits[rule]
    if tonumber(used) <= forgotten then
      old[#old + 1] = all[i]
    elseif limit and whose ~= decision and tonumber(used) > limit.start then
      limit.count = limit.count + 1
      if ends ~= '' and tonumber(ends) <= now then
        limit.doubtful[#limit.doubtful + 1] = all[i]
        limit.doubtful[#limit.doubtful + 1] = all[i + 1]
      end
    end
  end
end
for i = 7, #ARGV, 4 do
  local limit = limits[ARGV[i]]
  if limit.count >= tonumber(ARGV[i + 1]) then
    if #limit.doubtful > 0 then return {'settle', limit.doubtful} end
    return {'full', ARGV[i]}
  end
end
if #old > 0 then
  for _, field in ipairs(old) do redis.call('HDEL', KEYS[2], field) end
  redis.call('HSET', KEYS[2], 'since', string.format('%.0f', math.max(forgotten, tonumber(known[2]))))
end
-- Only now: what is forgotten may be what the same decision had reserved before.
for i = 7, #ARGV, 4 do
  if ARGV[i + 3] == '1' then redis.call('HSET', KEYS[2], decision .. '\31' .. ARGV[i], ARGV[4] .. ' ' .. ARGV[5]) end
end
redis.call('PEXPIRE', KEYS[2], ARGV[6])
return {'ok'}
