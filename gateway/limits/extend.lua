#!lua
-- Raise what an open reservation holds, in every limit or in none.
--
-- KEYS: 1 reservations (hash)  2 their leases (zset)  3 clock  4.. one per limit, in the order of
--       the reservation
-- ARGV: 1 now (0 = Redis TIME)  2 lease ms  3 id  4 whether there is a ledger to ask (0 | 1)
--       then per limit: amount  limit
--       then what the ledger says: limit, period, amount, …
-- Returns {1, …}                 held
--         {0, now, reset, epoch, limit, wait, used…}  refused; the limit to wait for longest, ms
--         {2, …}                 it is not open: nobody knows of it, or its lease has ended
--         {4, …, limit, period, …} the ledger must be asked about these first
--
-- A window's whole amount moves to the bucket of now, so that no window that holds the request
-- misses any of it. A period is charged where it was, for that is when the request was admitted.

local id, lease = ARGV[3], tonumber(ARGV[2])
local shard = clock(KEYS[3], KEYS[2], ARGV[1], lease)
local now = shard.now
local stored, ends = redis.call('HGET', KEYS[1], id), redis.call('ZSCORE', KEYS[2], id)
if not stored or not ends or tonumber(ends) <= now then return answer(2, shard) end

local record = unpacked(stored)
local seeds = ARGV[4] == '1' and told(5 + 2 * #record.entries) or nil
local beside, wait, extend, unseeded = {}, {}, {}, {}

function beside.w(key, e)
  e.window = window(key, tonumber(e.width), e.count, now)
  e.back = math.min(e.amount, tonumber(redis.call('HGET', key, e.at) or '0'))
  if e.window.void or tonumber(e.at) < e.window.oldest then e.back = 0 end
  return e.window.sum - e.back
end

function beside.p(key, e, i)
  local p = counted(key, i, e.width, shard, seeds)
  if p.at == e.at then
    if p.unseeded then
      unseeded[#unseeded + 1] = i
      unseeded[#unseeded + 1] = p.number
    end
    return p.settled + p.reserved - e.amount
  end
  local got = redis.call('HMGET', key, 's' .. e.at, 'r' .. e.at)
  return tonumber(got[1] or '0') + tonumber(got[2] or '0') - e.amount
end

function beside.c(key) return redis.call('ZCARD', key) - 1 end

function wait.w(e) return e.window.count * e.window.width end

function wait.p(e)
  local _, over = period(e.width, now)
  return over - now
end

function wait.c() return 1000 end

function extend.w(key, e, amount)
  if e.back > 0 then charge(e.window, -e.back, tonumber(e.at)) end
  charge(e.window, amount)
  e.at = text(e.window.current)
end

function extend.p(key, e, amount)
  redis.call('HINCRBY', key, 'r' .. e.at, text(amount - e.amount))
end

function extend.c() end

local used, longest, refused = {}, -1, 0
for i, e in ipairs(record.entries) do
  local amount, limit = tonumber(ARGV[3 + 2 * i]), tonumber(ARGV[4 + 2 * i])
  local others = beside[e.kind](KEYS[3 + i], e, i)
  used[i] = others + e.amount
  if amount > e.amount and others + amount > limit then
    local ms = wait[e.kind](e)
    if ms > longest then longest, refused = ms, i end
  end
end
if #unseeded > 0 then return answer(4, shard, unpack(unseeded)) end
if refused > 0 then return answer(0, shard, refused, longest, unpack(used)) end
for i, e in ipairs(record.entries) do
  local amount = tonumber(ARGV[3 + 2 * i])
  if amount > e.amount then
    extend[e.kind](KEYS[3 + i], e, amount)
    e.amount = amount
  end
end
redis.call('HSET', KEYS[1], id, packed(record))
return answer(1, shard)
