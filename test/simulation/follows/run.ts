import type { FollowTiers } from '../../../src/app/follows/follows.ts'
import { follow, unfollow } from '../../../src/app/follows/follows.ts'
import { followDuties } from '../../../src/app/follows/repair.ts'
import { BanyanError, hasCode } from '../../../src/core/errors.ts'
import { slotOf } from '../../../src/core/ids.ts'
import { limits } from '../../../src/core/limits.ts'
import { runDuties } from '../../../src/jobs/duties.ts'
import type { Session } from '../../../src/sessions/sessions.ts'
import { isQuiet, Operator, trouble } from '../run.ts'
import { drawScale } from '../scale.ts'
import { resetTemplate, type Template } from '../template.ts'
import { type Isolate, World } from '../world.ts'

const USERS = 12
const CLIENTS = 6
const EVENTS_MAX = 4_000_000
/** A move that has not committed by then continues in the calm phase. */
const TROUBLE_MS_MAX = 40_000
const CALM_MS_MAX = 240_000
const REPAIR_EVERY_MS = 3_000
/** The repair leaves changes alone whose time has not come by its clock, and clocks differ by up to 90 s. */
const CLOCKS_DIFFER_MS = 200_000
/** No pass takes more turns: three tables, a few hundred rows in each of three shards, a window of all shards. */
const PASS_TURNS = 24

export interface FollowRun {
  seed: number
  /** Follows and unfollows to send at least. */
  changes: number
  /** The share of jobs whose outbox row and message are lost. */
  lost?: number
  /** Stored counts to falsify before the last repair. */
  falsified?: number
  /** Runs the repair beside the clients, and at the end. */
  repairs?: boolean
  /** An account is deleted meanwhile. */
  deletes?: boolean
}

export interface FollowReport {
  violation: string | null
  acknowledged: number
  killed: number
  /** Moves that changed the owner of slots. */
  moves: number
  /** Pairs of sides that differ, and wrong counts, before the last repair, and after it. */
  before: string[]
  after: string[]
}

/** The known state of one edge. `null`: the answer to the latest request was lost. */
type Known = Map<string, boolean | null>

/**
 * Users follow and unfollow each other, while slots move and faults of all kinds occur: lost and late calls, crashes,
 * queues that repeat and reorder. Then all is calm, and the sides are compared.
 */
export async function runFollows(template: Template, given: FollowRun): Promise<FollowReport> {
  resetTemplate(template)
  const world = new World(template, given.seed, { isTraced: false, hasReplicas: false })
  const { now } = Date
  Date.now = () => Math.floor(world.scheduler.now())
  const { repairAfterMs } = limits
  Object.assign(limits, { repairAfterMs: 0 })
  try {
    return await new FollowWorld(world, given).run()
  } finally {
    Date.now = now
    Object.assign(limits, { repairAfterMs })
  }
}

class FollowWorld {
  readonly #world: World
  readonly #given: FollowRun
  readonly #sessions: Session[] = []
  readonly #known: Known = new Map()
  readonly #gone = new Set<string>()
  #sent = 0
  #acknowledged = 0
  #killed = 0
  #killing = 0
  #turn = 0
  #isStopped = false

  constructor(world: World, given: FollowRun) {
    this.#world = world
    this.#given = given
    for (const userId of world.userIds.splice(0, USERS)) this.#sessions.push(this.#join(userId))
  }

  async run(): Promise<FollowReport> {
    const { scheduler, faults, checker } = this.#world
    const { changes, falsified = 0, repairs = false, deletes = false } = this.#given
    drawScale(scheduler)
    for (let client = 0; client < CLIENTS; client++) void this.#live(client)
    const operator = new Operator(this.#world)
    operator.start()
    trouble(this.#world)
    let isRepairing = repairs
    const repairAgain = () => {
      if (!isRepairing) return
      this.#repair()
      scheduler.after(REPAIR_EVERY_MS, repairAgain)
    }
    repairAgain()
    if (deletes) scheduler.after(1_500, () => void this.#delete(this.#sessions.at(-1)!.userId))
    const afterEach = () => {
      if (checker.violation) throw new Error(checker.violation)
    }
    const troubleUntil = scheduler.now() + TROUBLE_MS_MAX
    await scheduler.run({
      isDone: () => this.#sent >= changes && (operator.isContent || scheduler.now() > troubleUntil),
      afterEach,
      eventsMax: EVENTS_MAX,
    })
    this.#isStopped = true
    faults.calm()
    operator.stop()
    isRepairing = false
    for (const shard of this.#world.shards) Object.assign(shard, { isReadOnly: false, isFull: false })
    this.#world.isQueueDown = false
    this.#world.meddling.repairAll()
    void operator.attend()
    const until = scheduler.now() + CALM_MS_MAX
    let waited = 0
    await scheduler.run({
      isDone: () => scheduler.now() > until || (this.#killing === 0 && isQuiet(this.#world, ++waited)),
      afterEach,
      eventsMax: EVENTS_MAX,
    })
    this.#falsify(falsified)
    const before = this.#differences()
    const pass = async (ms: number) => {
      const next = scheduler.now() + ms
      scheduler.after(ms, () => undefined)
      await scheduler.run({ isDone: () => scheduler.now() >= next, afterEach, eventsMax: EVENTS_MAX })
    }
    if (repairs) await pass(CLOCKS_DIFFER_MS)
    for (let turns = 0; repairs && turns < PASS_TURNS; turns++) {
      this.#repair()
      await pass(REPAIR_EVERY_MS)
    }
    return {
      violation: checker.violation,
      acknowledged: this.#acknowledged,
      killed: this.#killed,
      moves: checker.epoch - 1,
      before,
      after: this.#differences(),
    }
  }

  /** An account as a sign-up leaves it, as far as follows read it. */
  #join(userId: string): Session {
    const { sqlite } = this.#world.checker.ownerOf('users', slotOf(userId))
    const session = { id: `${slotOf(userId)}${userId.slice(4).replace(/^./, '1')}`, userId }
    sqlite
      .prepare('INSERT INTO profiles (id, handle, display_name, bio, created_at, version) VALUES (?, ?, ?, ?, 0, 1)')
      .run(userId, `h${this.#sessions.length}`, 'Name', '')
    const far = 9_000_000_000_000
    sqlite
      .prepare(
        `INSERT INTO sessions (id, user_id, secret_hash, retry_secret_hash, user_agent, created_at, last_seen_at,
           idle_at, expires_at, data) VALUES (?, ?, '', '', '', 0, 0, ?, ?, '{}')`,
      )
      .run(session.id, userId, far, far)
    return session
  }

  /** Each client acts for its own users, one request after another, so the latest answer of an edge is its state. */
  async #live(client: number): Promise<void> {
    const { scheduler } = this.#world
    const own = this.#sessions.filter((_, index) => index % CLIENTS === client)
    while (!this.#isStopped) {
      await scheduler.sleep(scheduler.between(1, 60))
      const session = scheduler.pick(own)
      const other = scheduler.pick(this.#sessions.filter(({ userId }) => userId !== session.userId))
      if (this.#gone.has(session.userId)) continue
      await this.#change(session, other.userId)
    }
  }

  async #change(session: Session, followeeId: string): Promise<void> {
    const { scheduler } = this.#world
    const isolate = this.#world.isolate()
    const follows = scheduler.chance(0.55)
    const key = `${session.userId}.${followeeId}`
    this.#sent++
    const dead = new Promise<'dead'>((resolve) => isolate.process.onDeath(() => resolve('dead')))
    const send = (follows ? follow : unfollow)(this.#tiers(isolate), session, followeeId)
    try {
      if ((await Promise.race([send, dead])) === 'dead') {
        send.catch(() => undefined)
        // The isolate's last call may still arrive. Until then, its outcome is not known.
        this.#known.set(key, null)
        await scheduler.sleep(30_000)
        return
      }
      this.#known.set(key, follows)
      this.#acknowledged++
    } catch (error) {
      if (!(error instanceof BanyanError)) throw error
      if (hasCode(error, 'OUTCOME_UNKNOWN')) {
        this.#known.set(key, null)
        await scheduler.sleep(30_000)
      }
    }
  }

  #tiers(isolate: Isolate): FollowTiers {
    const { tiers } = isolate.request()
    const { lost = 0 } = this.#given
    return {
      ...tiers,
      follow: (jobs) => {
        for (const job of jobs)
          if (this.#world.scheduler.chance(lost)) void this.#kill(job.id)
          else tiers.follow([job])
      },
    }
  }

  /** Deletes the outbox row of a job whose message was never sent. The sweeper may be faster. */
  async #kill(jobId: string): Promise<void> {
    this.#killing++
    await this.#insist((shards) => shards.of(jobId).prepare('DELETE FROM outbox WHERE id = ?').bind(jobId).run())
    this.#killed++
    this.#killing--
  }

  async #delete(userId: string): Promise<void> {
    this.#gone.add(userId)
    await this.#insist((shards) => shards.of(userId).prepare('DELETE FROM profiles WHERE id = ?').bind(userId).run())
  }

  async #insist(run: (shards: FollowTiers['shards']) => Promise<unknown>): Promise<void> {
    for (;;) {
      const isolate = this.#world.freshIsolate('killer')
      const dead = new Promise<'dead'>((resolve) => isolate.process.onDeath(() => resolve('dead')))
      const { shards } = isolate.request().tiers
      const outcome = await Promise.race([
        run(shards).then(
          () => 'done',
          () => 'failed',
        ),
        dead,
      ])
      if (outcome === 'done') return
      await this.#world.scheduler.sleep(200)
    }
  }

  #repair(): void {
    const isolate = this.#world.freshIsolate('cron')
    const { tiers, budget } = isolate.request({ ms: limits.cronMs })
    const { shards, clock, ids } = tiers
    void runDuties(followDuties({ shards, clock, ids, log: isolate.log }), {
      turn: ++this.#turn,
      budget,
      log: isolate.log,
    })
  }

  #falsify(count: number): void {
    for (const { userId } of this.#sessions.slice(0, count))
      this.#world.checker
        .ownerOf('users', slotOf(userId))
        .sqlite.prepare('UPDATE follow_counts SET followers = followers + 3, following = 1 - following WHERE id = ?')
        .run(userId)
  }

  /** Rows of a table at the slots' owners. */
  #rows<T extends { id: string }>(table: string): Map<string, T> {
    const { shards, checker } = this.#world
    return new Map(
      shards.flatMap((shard) =>
        (shard.sqlite.prepare(`SELECT * FROM ${table}`).all() as unknown as T[])
          .filter(({ id }) => checker.ownerOf('users', slotOf(id)) === shard)
          .map((row) => [row.id, row] as const),
      ),
    )
  }

  #differences(): string[] {
    const sides = this.#rows<EdgeRow>('follows')
    const copies = this.#rows<EdgeRow>('followers')
    const counts = this.#rows<{ id: string; followers: number; following: number }>('follow_counts')
    const found: string[] = []
    const pairs = new Set([
      ...sides.keys(),
      ...[...copies.values()].map(({ follower_id, followee_id }) => `${follower_id}.${followee_id}`),
    ])
    const isOn = (row: EdgeRow | undefined) => row !== undefined && row.ended_at === null
    for (const pair of pairs) {
      const [follower, followee] = pair.split('.')
      const [side, copy] = [sides.get(pair), copies.get(`${followee}.${follower}`)]
      if (isOn(side) !== isOn(copy)) found.push(`${pair}: ${JSON.stringify([side, copy])}`)
      const known = this.#known.get(pair)
      const isTaken = this.#gone.has(followee!) && !isOn(side)
      if (known !== undefined && known !== null && known !== isOn(side) && !isTaken)
        found.push(`${pair} was acknowledged as ${known}, and is ${isOn(side)}`)
    }
    for (const { userId } of this.#sessions) {
      const stored = counts.get(userId)
      const isCounted = (rows: Map<string, EdgeRow>) =>
        [...rows.values()].filter((row) => row.id.startsWith(`${userId}.`) && row.ended_at === null).length
      const wanted = { followers: isCounted(copies), following: isCounted(sides) }
      if (stored && (stored.followers !== wanted.followers || stored.following !== wanted.following))
        found.push(`${userId} has ${JSON.stringify(wanted)}, and ${JSON.stringify(stored)} is stored`)
    }
    return found
  }
}

interface EdgeRow {
  id: string
  follower_id: string
  followee_id: string
  ended_at: number | null
  version: number
}
