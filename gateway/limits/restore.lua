#!lua flags=allow-oom
-- Put an open reservation back that the store has lost, as its holder remembers it. Its windows
-- are put back by refill, with all else that was admitted.
--
-- KEYS: 1 reservations (hash)  2 their leases (zset)  3 clock  4 marker of this id
--       5.. one per limit
-- ARGV: 1 now (0 = Redis TIME)  2 lease ms  3 id  4 when it was admitted (ms)
--       5 when its windows were charged (ms)  6 tokens and 7 nano-dollars that it has used so far
--       8 cap  9 note  10 tenant
--       then per limit as reserve has them; fixed is the amount
-- Returns {1, …}  back            {3, …}  back, but its place is taken: it overlaps another
--         {0, …}  it is known

local id, lease, admitted = ARGV[3], tonumber(ARGV[2]), tonumber(ARGV[4])
local shard = clock(KEYS[3], KEYS[2], ARGV[1], lease)
local now, ends = shard.now, text(shard.now + lease)
if redis.call('EXISTS', KEYS[4]) == 1 or redis.call('HEXISTS', KEYS[1], id) == 1 then
  return answer(0, shard)
end

local limits = given(11, 4)
local has_room, put = true, {}

function put.w(l) return math.floor(tonumber(ARGV[5]) / tonumber(l.width)) end

function put.p(l)
  local number, over = period(l.width, admitted)
  if over > now then                     -- what is reserved in a past period limits nobody
    redis.call('HINCRBY', l.key, 'r' .. text(number), text(l.amount))
    redis.call('PEXPIRE', l.key, text(over - now + DAY))
  end
  return number
end

function put.c(l)
  if has_room then
    redis.call('ZADD', l.key, ends, id)
    redis.call('PEXPIRE', l.key, text(lease + IDLE))
  end
  return 0
end

for _, l in ipairs(limits) do
  if l.kind == 'c' then
    redis.call('ZREMRANGEBYSCORE', l.key, '-inf', text(now))
    has_room = has_room and redis.call('ZCARD', l.key) < l.limit
  end
end
for _, l in ipairs(limits) do
  l.amount = l.fixed
  l.at = text(put[l.kind](l))
end
redis.call('HSET', KEYS[1], id, packed({
  used = {t = ARGV[6], m = ARGV[7]}, cap = ARGV[8], tenant = ARGV[10], entries = limits,
  note = ARGV[9],
}))
redis.call('ZADD', KEYS[2], ends, id)
return answer(has_room and 1 or 3, shard)
