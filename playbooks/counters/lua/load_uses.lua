-- Takes a user's uses from the journal; those reserved in this epoch already stay.
-- KEYS: life, uses. ARGV: token, since, span, keep (ms), then field and value of each use.
local life = redis.call('GET', KEYS[1])
if life ~= RUN .. ' ' .. ARGV[1] then return {'epoch', RUN, life or ''} end
local known = redis.call('HMGET', KEYS[2], 'token', 'since')
if known[1] ~= ARGV[1] then
  redis.call('DEL', KEYS[2])
elseif tonumber(known[2]) <= tonumber(ARGV[2]) then
  return {'ok'}
end
redis.call('HSET', KEYS[2], 'token', ARGV[1], 'since', ARGV[2], 'span', ARGV[3])
for i = 5, #ARGV, 2 do redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {'ok'}
