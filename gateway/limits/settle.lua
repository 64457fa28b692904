#!lua flags=allow-oom
-- End a reservation, once: what was not used goes back to where it was taken from.
--
-- KEYS: 1 reservations (hash)  2 their leases (zset)  3 clock  4 marker of this id
--       5 ledger (stream)  6.. one per limit, in the order of the reservation
-- ARGV: 1 now (0 = Redis TIME)  2 lease ms  3 id
--       4 mode: S settle
--               C cancel a reservation whose answer was lost: nothing was used
--               E expire: its owner has not renewed the lease
--       for S: 5 the ledger's row, or nothing
--              6 the epoch in which it was admitted, 0 if not here  7 when it was admitted (ms)
--              8 when the row was first handed to the ledger by another way (ms), 0 if it was not
--              9 whether there is a ledger to ask (0 | 1)  10.. the amount used per limit
--              then what the ledger says without this request: limit, period, amount, …
-- Returns {1, …}  done           {2, …}  settled after it had expired
--         {3, …}  still alive (E) {4, …}  nothing was known of it (S, C)  {0, …}  it had ended
--         {6, now, reset, epoch, limit, period, …}  the ledger must be asked about these first
--
-- The marker says how an id ended, so that ending it again changes nothing and a reserve that
-- was overtaken by its own cancellation takes nothing. An expired reservation stays in its
-- marker: its windows stay charged and age out by themselves, a period is charged what it was
-- last heard to have used, and a late settle corrects both to the truth.
--
-- What is charged and the row that says so are written together or not at all.

local ENDED, EXPIRED = 600000, DAY       -- ms that markers are kept
local id, mode = ARGV[3], ARGV[4]
local shard = clock(KEYS[3], KEYS[2], ARGV[1], tonumber(ARGV[2]))
local now = shard.now
local marker = redis.call('GET', KEYS[4])
local how = marker and string.sub(marker, 1, 1)

if mode == 'E' then
  local ends = redis.call('ZSCORE', KEYS[2], id)
  if not ends then return answer(0, shard) end
  if tonumber(ends) > now then return answer(3, shard) end      -- renewed since it was found
elseif how == 'S' or how == 'C' and not (mode == 'S' and ARGV[6] == '0') then
  return answer(0, shard)                -- cancelled here, a request may have gone on elsewhere
end

local stored = redis.call('HGET', KEYS[1], id)
local late = not stored and how == 'E'
if late then stored = string.sub(marker, 2) end
local record = stored and unpacked(stored)
local seeds = mode == 'S' and ARGV[9] == '1' and told(10 + #KEYS - 5) or nil
local charged, unseeded = {}, {}

local function charges(i, unit)          -- a period that is about to be charged the truth
  local p = counted(KEYS[5 + i], i, unit, shard, seeds)
  if p.unseeded then
    unseeded[#unseeded + 1] = i
    unseeded[#unseeded + 1] = p.number
  end
  charged[i] = p
end

-- The store has lost the reservation: its periods are charged all the same. But not if the row
-- was in the ledger before these data began with what the ledger said; and not if the marker of
-- an earlier attempt may have gone since.
local function is_lost()
  local sent = tonumber(ARGV[8])
  if sent == 0 then return true end
  if ARGV[6] == shard.epoch and now - sent > ENDED then return false end
  return sent >= shard.since
end

if mode == 'S' and record then
  for i, e in ipairs(record.entries) do
    if e.kind == 'p' and text((period(e.width, now))) == e.at then charges(i, e.width) end
  end
elseif mode == 'S' and is_lost() then
  local admitted = tonumber(ARGV[7])
  for i = 1, #KEYS - 5 do
    local unit = string.match(KEYS[5 + i], '^[^}]*}:[^:]*:p:(%a+):')
    if unit and (admitted == 0 or period(unit, admitted) == period(unit, now)) then
      charges(i, unit)
    end
  end
end
if #unseeded > 0 then return answer(6, shard, unpack(unseeded)) end

redis.call('HDEL', KEYS[1], id)
redis.call('ZREM', KEYS[2], id)
if mode == 'E' then
  if late or not record then return answer(0, shard) end
  local note = record.note
  record.note = ''
  redis.call('SET', KEYS[4], 'E' .. packed(record), 'PX', EXPIRED)
  if note ~= '' then
    redis.call('XADD', KEYS[5], '*', 'how', 'E', 'id', id, 'row', note,
      'tokens', text(record.used.t), 'cost', text(record.used.m))
  end
else
  redis.call('SET', KEYS[4], mode, 'PX', (record or mode == 'C') and ENDED or EXPIRED)
  if mode == 'S' and ARGV[5] ~= '' then
    redis.call('XADD', KEYS[5], '*', 'how', 'S', 'id', id, 'row', ARGV[5])
  end
end

local finish = {}

function finish.w(key, e, used)
  if mode == 'E' then return end
  if used > e.amount then
    return charge(window(key, tonumber(e.width), e.count, now), used - e.amount)
  end
  local held = tonumber(redis.call('HGET', key, e.at) or '0')   -- 0: it has left the window
  local back = math.min(e.amount - used, held)
  if back > 0 then
    redis.call('HINCRBY', key, e.at, text(-back))
    redis.call('HINCRBY', key, 's', text(-back))
  end
end

function finish.p(key, e, used, i)
  local known = redis.call('HMGET', key, 's' .. e.at, 'r' .. e.at)
  if known[2] and not late then redis.call('HINCRBY', key, 'r' .. e.at, text(-e.amount)) end
  if mode == 'E' then used = record.used[e.measure] end
  -- A counter that has just begun knows nothing of what was charged when this request expired.
  local began = charged[i] and charged[i].fresh ~= nil
  if late and not began then used = used - record.used[e.measure] end
  if known[1] then
    redis.call('HINCRBY', key, 's' .. e.at, text(used))
  elseif charged[i] then
    settle(charged[i], used, now)        -- else the period is forgotten, or the row will tell
  end
end

function finish.c(key) redis.call('ZREM', key, id) end

if record then
  for i, e in ipairs(record.entries) do
    finish[e.kind](KEYS[5 + i], e, tonumber(ARGV[9 + i] or '0'), i)
  end
  return answer(late and 2 or 1, shard)
end
for i, p in pairs(charged) do settle(p, tonumber(ARGV[9 + i]), now) end
return answer(4, shard)
