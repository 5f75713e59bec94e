import { retryable } from 'cloudflare:durable-objects'
import { DurableObject } from 'cloudflare:workers'
import { migrations } from '../dist/migrations.ts'
import { systemClock } from '../src/core/clock.ts'
import { base64url } from '../src/core/digest.ts'
import { BanyanError, type ErrorCode } from '../src/core/errors.ts'
import { createIdSource } from '../src/core/ids.ts'
import { limits } from '../src/core/limits.ts'
import { consoleLog } from '../src/core/log.ts'
import { systemRandom } from '../src/core/random.ts'
import { Fleet, type Rebalance, type RebalanceRequest } from '../src/resharding/fleet.ts'
import { KeptAnswers, type Once } from '../src/resharding/kept-answers.ts'
import { Mover } from '../src/resharding/move.ts'
import { MoveAlarm } from '../src/resharding/move-alarm.ts'
import { MovePlanning, type MoveRequest } from '../src/resharding/move-planning.ts'
import { MoveRecords } from '../src/resharding/move-records.ts'
import type {
  MoveAnswer,
  MoveChange,
  MoveChoice,
  MoveNotes,
  MoveProgress,
  MoveRecord,
  RemoteMoveRecords,
  SeenMove,
} from '../src/resharding/record.ts'
import { SCHEMA_VERSION } from '../src/resharding/shard-side.ts'
import type { MoveSides } from '../src/resharding/sides.ts'
import { Directory } from '../src/sharding/directory.ts'
import type { RetryKey } from '../src/sharding/idempotency.ts'
import type { EncodedMap, MapWire, ShardEntry, ShardState } from '../src/sharding/shard-map.ts'
import type { MoveVerb } from '../src/web/context.ts'
import { askDirectory } from './directory.ts'
import { boundShards, type Env } from './env.ts'
import { wakeMovers } from './moves.ts'
import { readMoveSettings } from './settings.ts'

/** An answer of the directory. Errors travel as values: a class doesn't survive RPC, a code does. */
export type Reply<T> = T | Refusal

export interface Refusal {
  code: ErrorCode
  detail: string
  retryAfterSeconds?: number
}

export type DirectoryReply = Reply<{ map: MapWire }>

/** The Durable Object that owns the shard map and the record of moves. There is one, named `directory`. */
export class DirectoryObject extends DurableObject<Env> {
  // Reads only: the runtime may run these twice when a connection breaks.
  static {
    const { map, encodedMap, listMoves, openMoves, findMove } = DirectoryObject.prototype
    retryable(map, encodedMap, listMoves, openMoves, findMove)
  }

  readonly #directory: Directory
  readonly #records: MoveRecords
  readonly #planning: MovePlanning
  readonly #fleet: Fleet
  readonly #answers: KeptAnswers
  /** Wakes the movers of moves that can start. It may fail: the cron wakes them then. Tests put another in its place. */
  wakeMovers: (ids: string[]) => Promise<unknown>

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const log = consoleLog({ source: 'directory' })
    this.wakeMovers = (ids) => wakeMovers({ env, log }, ids, limits.cronWakeMs)
    const shards = boundShards(env)
    const storage = {
      rows: <T>(sql: string, ...values: (string | number | null)[]) =>
        ctx.storage.sql.exec(sql, ...values).toArray() as T[],
      transaction: <T>(body: () => T) => ctx.storage.transactionSync(body),
    }
    const common = { storage, clock: systemClock }
    this.#directory = new Directory({ ...common, shards, newDeploymentId: () => base64url(systemRandom.bytes(12)) })
    this.#records = new MoveRecords({
      ...common,
      ...readMoveSettings(env),
      directory: this.#directory,
      // After the answer: the caller does not wait for the wake-ups, and does not see their failures.
      onRunnable: (ids) => ctx.waitUntil(Promise.resolve().then(() => this.wakeMovers(ids))),
    })
    this.#planning = new MovePlanning({
      clock: systemClock,
      ...readMoveSettings(env),
      directory: this.#directory,
      records: this.#records,
      newId: createIdSource(systemClock, systemRandom).plain,
      async shardFacts({ binding }) {
        const database = shards.get(binding)
        if (!database) throw new BanyanError('SHARD_UNKNOWN', `This version of the Worker has no binding ${binding}.`)
        const { results, meta } = await database.prepare(SCHEMA_VERSION).all<{ version: string }>()
        return { schema: results[0]!.version, bytes: (meta.size_after as number | undefined) || null }
      },
      newestMigration: migrations.at(-1)!,
    })
    this.#fleet = new Fleet({ directory: this.#directory, records: this.#records, planning: this.#planning })
    this.#answers = new KeptAnswers(storage, systemClock)
  }

  async map(): Promise<DirectoryReply> {
    return replied(async () => ({ map: await this.#directory.map() }))
  }

  /** The same, encoded once an epoch. */
  async encodedMap(): Promise<Reply<EncodedMap>> {
    return replied(() => this.#directory.encodedMap())
  }

  async planMoves(request: MoveRequest, retry: RetryKey | null = null): Promise<Reply<{ moves: MoveRecord[] }>> {
    return replied(async () => {
      await this.#directory.map() // the first boot must be over
      return { moves: await this.#answers.answer(retry, (once, parts) => this.#planning.plan(request, once, parts)) }
    })
  }

  async joinShard(binding: string, retry: RetryKey | null = null): Promise<Reply<{ shard: ShardEntry }>> {
    // A shard that has joined joins again as it is, so the answer may be kept apart.
    const join = async (once: Once<ShardEntry>) => {
      const shard = await this.#fleet.join(binding)
      return once(() => shard)
    }
    return replied(async () => ({ shard: await this.#answers.answer(retry, join) }))
  }

  async setShardState(id: string, state: ShardState): Promise<Reply<{ shard: ShardEntry }>> {
    return replied(async () => ({ shard: await this.#fleet.setState(id, state) }))
  }

  async removeShard(id: string): Promise<Reply<{ removed: true }>> {
    return replied(async () => {
      await this.#fleet.remove(id)
      return { removed: true }
    })
  }

  async rebalance(request: RebalanceRequest, retry: RetryKey | null = null): Promise<Reply<Rebalance>> {
    return replied(() => this.#answers.answer(retry, (once, parts) => this.#fleet.rebalance(request, once, parts)))
  }

  async drainShard(id: string, retry: RetryKey | null = null): Promise<Reply<Rebalance>> {
    return replied(() => this.#answers.answer(retry, (once, parts) => this.#fleet.drain(id, once, parts)))
  }

  async listMoves(page: { limit: number; before: string | null }): Promise<MoveRecord[]> {
    return this.#records.list(page)
  }

  /** The moves that may be asleep though they have something to do. */
  async movesToWake(limit: number): Promise<string[]> {
    return this.#records.movesToWake(limit)
  }

  /** All open moves, for a cron of the version before. */
  async openMoves(): Promise<MoveRecord[]> {
    return this.#records.open()
  }

  async findMove(id: string): Promise<MoveRecord | null> {
    return this.#records.find(id)
  }

  async steerMove(id: string, verb: MoveVerb, retry: RetryKey | null = null): Promise<Reply<{ move: MoveRecord }>> {
    const steer = async (once: Once<MoveRecord>) => once(() => this.#records[verb](id))
    return replied(async () => ({ move: await this.#answers.answer(retry, steer) }))
  }

  async changeMove(seen: SeenMove, change: MoveChange, progress: MoveProgress | null): Promise<MoveAnswer> {
    return this.#records.change(seen, change, progress)
  }

  async reportMove(id: string, progress: MoveProgress | null, notes?: MoveNotes): Promise<void> {
    this.#records.report(id, progress, notes)
  }
}

/** The Durable Object that drives one move, by alarms. Its name is the move's id. */
export class MoverObject extends DurableObject<Env> {
  readonly #mover: Mover
  readonly #alarm: MoveAlarm

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#mover = new Mover({
      records: remoteRecords(env),
      shards: boundShards(env),
      clock: systemClock,
      random: systemRandom,
      log: consoleLog({ source: 'mover' }),
      share: readMoveSettings(env).moveShare,
    })
    const { storage } = ctx
    this.#alarm = new MoveAlarm(
      {
        findMove: async () => (await storage.get<string>('move')) ?? null,
        keepMove: (moveId) => storage.put('move', moveId),
        setAlarm: (at) => storage.setAlarm(at),
        deleteAlarm: () => storage.deleteAlarm(),
      },
      systemClock,
      (moveId) => this.#mover.turn(moveId),
    )
  }

  async wake(moveId: string): Promise<void> {
    await this.#alarm.wake(moveId)
  }

  /** What both shards hold of the move, and the choices that are safe now; null: there is no such move. */
  async sidesOfMove(moveId: string): Promise<MoveSides | null> {
    return this.#mover.sides(moveId)
  }

  /** Carries a choice out if it is safe now, and wakes the move. An undo is the directory's, which the caller asks. */
  async resolveMove(moveId: string, choice: MoveChoice): Promise<{ isSafe: boolean; choices: MoveChoice[] } | null> {
    const isSafe = await this.#resolved(moveId, choice)
    if (isSafe && choice !== 'undo') await this.#alarm.wake(moveId)
    const sides = isSafe ? { choices: [choice] } : await this.#mover.sides(moveId)
    return sides && { isSafe, choices: sides.choices }
  }

  /** A choice that was interrupted may have taken the lanes: the next turn uses or leaves them. */
  async #resolved(moveId: string, choice: MoveChoice): Promise<boolean> {
    try {
      return await this.#mover.resolve(moveId, choice)
    } catch (error) {
      await this.#alarm.wake(moveId)
      throw error
    }
  }

  override async alarm(): Promise<void> {
    await this.#alarm.ring()
  }
}

/** The directory's records of moves, by RPC. */
function remoteRecords(env: Env): RemoteMoveRecords {
  const { directoryMs } = limits
  return {
    find: (id) => askDirectory(env, directoryMs, (directory) => directory.findMove(id)),
    change: (...change) => askDirectory(env, directoryMs, (directory) => directory.changeMove(...change)),
    report: (...progress) => askDirectory(env, directoryMs, (directory) => directory.reportMove(...progress)),
  }
}

async function replied<T>(body: () => Promise<T>): Promise<Reply<T>> {
  try {
    return await body()
  } catch (error) {
    if (!(error instanceof BanyanError)) throw error
    const { code, message, retryAfterSeconds } = error
    return { code, detail: message, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) }
  }
}
