-- Returns a user's uses. KEYS: life, uses. ARGV: token, since, now.
local life = redis.call('GET', KEYS[1])
if life ~= RUN .. ' ' .. ARGV[1] then return {'epoch', RUN, life or ''} end
local known = redis.call('HMGET', KEYS[2], 'token', 'since')
if known[1] ~= ARGV[1] or tonumber(known[2]) > tonumber(ARGV[2]) then return {'load'} end
local all, now, doubtful = redis.call('HGETALL', KEYS[2]), tonumber(ARGV[3]), {}
for i = 1, #all, 2 do
  local ends = string.find(all[i], '\31', 1, true) and string.match(all[i + 1], ' (%-?%d+)$')
  if ends and tonumber(ends) <= now then
    doubtful[#doubtful + 1] = all[i]
    doubtful[#doubtful + 1] = all[i + 1]
  end
end
if #doubtful > 0 then return {'settle', doubtful} end
return {'ok', all}
