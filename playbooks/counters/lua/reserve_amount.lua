-- Checks a budget and reserves an amount of it.
-- KEYS: life, total, open. ARGV: token, decision, now, expires, amount, limit, settle at most so many.
-- `total` is a hash: token, taken, and "=decision" for what an open reservation holds; `open` has their ends.
local life = redis.call('GET', KEYS[1])
if life ~= RUN .. ' ' .. ARGV[1] then return {'epoch', RUN, life or ''} end
local mine = '=' .. ARGV[2]
local known = redis.call('HMGET', KEYS[2], 'token', 'taken', mine)
if known[1] ~= ARGV[1] then return {'load'} end
local more = tonumber(ARGV[5]) - tonumber(known[3] or 0)
if tonumber(known[2]) + more > tonumber(ARGV[6]) then
  local doubtful = redis.call('ZRANGE', KEYS[3], '-inf', ARGV[3], 'BYSCORE', 'LIMIT', 0, ARGV[7], 'WITHSCORES')
  if #doubtful > 0 then return {'settle', doubtful} end
  return {'full'}
end
redis.call('HINCRBY', KEYS[2], 'taken', string.format('%.0f', more))
redis.call('HSET', KEYS[2], mine, ARGV[5])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[2])
return {'ok'}
