import { changeHandle } from '../../src/app/accounts/handle-changes.ts'
import { signUp } from '../../src/app/accounts/sign-up.ts'
import { hasCode } from '../../src/core/errors.ts'
import { limits } from '../../src/core/limits.ts'
import type { MoveRecord } from '../../src/resharding/record.ts'
import type { Session } from '../../src/sessions/sessions.ts'
import { claimKey } from '../../src/sharding/claims.ts'
import { keyspaces } from '../../src/sharding/sharded-table.ts'
import { noToken } from '../../src/web/causal-token.ts'
import { ask } from './ask.ts'
import type { Executed } from './checker.ts'
import { restart } from './network.ts'
import { Process } from './processes.ts'
import { drawScale } from './scale.ts'
import { neighbourhood, resetTemplate, SHARD_COUNT, type Template } from './template.ts'
import { callDirectory, World } from './world.ts'

const TRIES_MAX = 6
const EVENTS_MAX = 2_000_000
const CALM_MS_MAX = 240_000
/** Retired handles expire this soon in every third seed, so that others can take them. */
const RETIRED_MS_SHORT = 5_000
const DAY_MS = 86_400_000

/** The calls of a rename and of its jobs. After each of them, its isolate crashes once. */
export const renameSteps = [
  'handles.read',
  'claims.find-holder-handle',
  'claims.reserve-handle',
  'claims.bar',
  'claims.contest-handle',
  'handles.commit',
  'jobs.claims.retire',
  'jobs.claims.confirm',
  'sign-up.commit',
] as const

export interface Contention {
  renames: number
  signUps: number
  /** The isolate that makes this call crashes after its effect. */
  crashAfter: string
}

export interface ContentionReport {
  seed: number
  violation: string | null
  /** How often each of these happened. */
  happened: { won: number; takenBack: number; refused: number; crashes: number; moves: number; holders: number }
}

interface User {
  session: Session
  handle: string
}

/** Renames and sign-ups that contend for one handle, while slots move and isolates crash. A seed decides everything. */
export async function runContention(template: Template, seed: number, given: Contention): Promise<ContentionReport> {
  resetTemplate(template)
  const world = new World(template, seed, { isTraced: false, hasReplicas: false })
  const { now } = Date
  const { handleRetiredDays } = limits
  const isShort = seed % 3 === 0
  Date.now = () => Math.floor(world.scheduler.now())
  Object.assign(limits, { handleRetiredDays: isShort ? RETIRED_MS_SHORT / DAY_MS : handleRetiredDays })
  try {
    return await new Contest(world, seed, given, isShort).run()
  } finally {
    Date.now = now
    Object.assign(limits, { handleRetiredDays })
  }
}

class Violation extends Error {}

class Contest {
  readonly #world: World
  readonly #seed: number
  readonly #given: Contention
  /** Retired handles expire during the run. */
  readonly #isShort: boolean
  readonly #handle: string
  readonly #happened: ContentionReport['happened'] = {
    won: 0,
    takenBack: 0,
    refused: 0,
    crashes: 0,
    moves: 0,
    holders: 0,
  }
  /** The user who has the handle, or had it last. */
  #holder: string | null = null
  #working = 0
  /** The renamers that have no account yet. The contest starts without them. */
  #missing: number
  readonly #started = Promise.withResolvers<void>()

  constructor(world: World, seed: number, given: Contention, isShort: boolean) {
    this.#world = world
    this.#seed = seed
    this.#given = given
    this.#isShort = isShort
    this.#handle = world.template.handles[0]!
    this.#missing = given.renames
  }

  async run(): Promise<ContentionReport> {
    const { scheduler, checker, faults } = this.#world
    drawScale(scheduler)
    this.#watch()
    void this.#moveAround()
    this.#trouble()
    const { renames, signUps } = this.#given
    for (let index = 0; index < renames; index++) this.#start(() => this.#rename(index))
    for (let index = 0; index < signUps; index++) this.#start(() => this.#signUpForIt(index))
    const afterEach = () => {
      if (checker.violation) throw new Violation()
    }
    try {
      await scheduler.run({ isDone: () => this.#working === 0, afterEach, eventsMax: EVENTS_MAX })
      faults.calm()
      this.#world.isQueueDown = false
      let waited = 0
      const until = scheduler.now() + CALM_MS_MAX
      const isDone = () => scheduler.now() > until || (++waited % 64 === 0 && this.#isQuiet())
      await scheduler.run({ isDone, afterEach, eventsMax: EVENTS_MAX })
      this.#finalChecks()
    } catch (error) {
      if (!(error instanceof Violation)) checker.report(`stuck: ${(error as Error).stack}`)
    }
    return { seed: this.#seed, violation: checker.violation, happened: this.#happened }
  }

  #start(work: () => Promise<void>): void {
    const { scheduler } = this.#world
    this.#working++
    scheduler.after(scheduler.between(0, 400), () => {
      work().then(
        () => this.#working--,
        (error: Error) => this.#world.checker.report(`a client failed: ${error.stack}`),
      )
    })
  }

  // ── the contenders ────────────────────────────────────────────────────────────────────────────

  async #rename(index: number): Promise<void> {
    const user = await this.#signUp(`renamer_${index}`)
    if (--this.#missing === 0) this.#started.resolve()
    if (!user) return
    const { scheduler } = this.#world
    await this.#atTheSameTime()
    if (!(await this.#insist(() => this.#change(user, this.#handle)))) return
    this.#happened.won++
    // The winner returns to its first handle, which nobody else may have taken, and sometimes comes back.
    if (scheduler.chance(0.7) && (await this.#change(user, user.handle))) this.#happened.takenBack++
    else return
    await scheduler.sleep(scheduler.between(0, 2_000))
    if (scheduler.chance(0.6) && (await this.#change(user, this.#handle))) this.#happened.takenBack++
  }

  async #signUpForIt(index: number): Promise<void> {
    await this.#atTheSameTime()
    // A rename has one more call before its reservation.
    await this.#world.scheduler.sleep(this.#world.scheduler.between(0, 60))
    if (await this.#insist(() => this.#signUp(`newcomer_${index}`, this.#handle))) this.#happened.won++
  }

  async #atTheSameTime(): Promise<void> {
    await this.#started.promise
    await this.#world.scheduler.sleep(this.#world.scheduler.between(0, 300))
  }

  /** Half of those who are refused try again later, when the owner may have given the handle up. */
  async #insist<T>(take: () => Promise<T | null>): Promise<T | null> {
    const { scheduler } = this.#world
    const taken = await take()
    if (taken || scheduler.chance(0.5)) return taken
    await scheduler.sleep(scheduler.between(500, 12_000))
    return take()
  }

  /** True if the user was told that the handle is theirs. An unknown outcome is repeated a few times. */
  async #change(user: User, handle: string): Promise<true | null> {
    const { scheduler } = this.#world
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const outcome = await ask(this.#world, { name: user.handle, causal: noToken, effect: null }, ({ tiers }) =>
        changeHandle(tiers, user.session, handle),
      )
      if ('value' in outcome) return true
      if (hasCode(outcome.error, 'HANDLE_TAKEN')) {
        this.#happened.refused++
        if (handle === user.handle) this.#world.checker.report(`the former owner cannot take @${handle} back`)
        return null
      }
      await scheduler.sleep(scheduler.between(50, 900))
    }
    return null
  }

  /** Null if the handle is taken, or if no try had an answer. */
  async #signUp(name: string, handle = name): Promise<User | null> {
    const { scheduler } = this.#world
    const retry = { key: `${name}-${handle}`, request: name }
    const input = { email: `${name}@example.com`, handle, password: 'seven quiet herons' }
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const outcome = await ask(this.#world, { name, causal: noToken, effect: null }, ({ tiers }) =>
        signUp(tiers, input, { origin: 'http://localhost', userAgent: 'a simulation', retry }),
      )
      if ('value' in outcome) {
        const { userId, token } = outcome.value
        return { handle, session: { id: token.split('.')[1]!, userId } }
      }
      if (hasCode(outcome.error, 'HANDLE_TAKEN')) {
        this.#happened.refused++
        return null
      }
      await scheduler.sleep(scheduler.between(50, 900))
    }
    return null
  }

  // ── what goes wrong meanwhile ─────────────────────────────────────────────────────────────────

  /** Crashes after the step, and checks after every change of a profile who has the handle. */
  #watch(): void {
    const { checker, scheduler } = this.#world
    const executed = checker.executed.bind(checker)
    let crashAt = scheduler.between(1, 3) // some steps run three times per seed
    checker.executed = (batch: Executed) => {
      executed(batch)
      if (batch.rows.some(({ table }) => table === 'profiles') && !batch.process.name.startsWith('mover'))
        this.#checkHolder()
      if (batch.step === this.#given.crashAfter && --crashAt === 0) {
        this.#happened.crashes++
        crashAt = scheduler.between(4, 30)
        this.#crash(batch.process)
      }
    }
  }

  #crash(process: Process): void {
    const index = this.#world.isolates.findIndex((isolate) => isolate.process === process)
    if (index >= 0) this.#world.replaceIsolate(index)
    else process.die()
  }

  #trouble(): void {
    const { scheduler, shards, faults } = this.#world
    const kinds: (() => void)[] = [
      () => this.#world.isolate().freeze(scheduler.between(300, 5_000)),
      () => restart(scheduler.pick(shards).place),
      () => {
        scheduler.pick(shards).place.unavailableUntil = scheduler.now() + scheduler.between(50, 900)
      },
      () => {
        this.#world.isQueueDown = scheduler.chance(0.4)
      },
    ]
    const strike = () => {
      if (faults.isCalm) return
      scheduler.pick(kinds)()
      scheduler.after(scheduler.between(300, 1_500), strike)
    }
    scheduler.after(scheduler.between(100, 700), strike)
  }

  /** Moves the users' slots, or the claims', to another shard, one move after another. */
  async #moveAround(): Promise<void> {
    const { scheduler, directory, faults, shards } = this.#world
    const operator = new Process(scheduler, 'operator')
    for (let number = 0; !faults.isCalm; number++) {
      await scheduler.sleep(scheduler.between(50, 400))
      if (this.#world.openMoves().length > 0) continue
      const keyspace = scheduler.pick(keyspaces)
      const target = shards[scheduler.below(SHARD_COUNT)]!.id
      const wish = { keyspace, ranges: [neighbourhood[keyspace]], target }
      const plan = () =>
        directory.answers.answer<MoveRecord[]>({ key: `plan-${number}`, request: target }, (once, parts) =>
          directory.planning.plan(wish, once, parts),
        )
      const planned = await callDirectory(this.#world, operator, () => null, plan).catch(() => [])
      this.#happened.moves += planned.length
    }
  }

  // ── what must hold ────────────────────────────────────────────────────────────────────────────

  /** At no moment do two users have the handle. Another user takes it only after its time. */
  #checkHolder(): void {
    const { checker } = this.#world
    const holders = this.#all<{ id: string }>('users', 'SELECT id FROM profiles WHERE handle = ?', this.#handle)
    const ids = [...new Set(holders.map(({ id }) => id))]
    if (ids.length > 1) checker.report(`M5: ${ids} have @${this.#handle} at once`)
    const [id] = ids
    if (!id || id === this.#holder) return
    if (this.#holder && !this.#isShort) checker.report(`${id} took @${this.#handle}, which is kept for ${this.#holder}`)
    this.#holder = id
    this.#happened.holders++
  }

  /** The rows at their owners, without the copies that a move leaves behind. */
  #all<Row extends { id: string }>(keyspace: (typeof keyspaces)[number], sql: string, ...values: string[]): Row[] {
    const { shards, checker } = this.#world
    return shards.flatMap((shard) =>
      (checker.ask(shard, sql).all(...values) as unknown as Row[]).filter(
        ({ id }) => checker.ownerOf(keyspace, id.slice(0, 4)).id === shard.id,
      ),
    )
  }

  #isQuiet(): boolean {
    const { held, queued } = this.#world
    if (held > 0 || queued > 0 || this.#world.openMoves().length > 0) return false
    const left = [
      ...this.#all('users', 'SELECT id FROM outbox'),
      ...this.#all('claims', "SELECT key AS id FROM claims WHERE state = 'reserved'"),
    ]
    return left.length === 0
  }

  /** M5: each account has its claims, and each claim its account, or a former owner and an expiry. */
  #finalChecks(): void {
    const { checker } = this.#world
    for (const { id } of this.#all('users', 'SELECT id FROM outbox')) checker.report(`the job ${id} never ends`)
    const claims = this.#all<{ id: string; ownerId: string; state: string }>(
      'claims',
      'SELECT key AS id, owner_id AS ownerId, state FROM claims',
    )
    const accounts = this.#all<{ id: string; email: string; handle: string }>(
      'users',
      'SELECT accounts.id, email, handle FROM accounts JOIN profiles USING (id)',
    )
    const held = new Map(claims.map((claim) => [claim.id, claim]))
    if (held.size < claims.length) checker.report('M5: a claim exists twice')
    const due = new Map<string, string>()
    for (const { id, email, handle } of accounts)
      for (const key of [claimKey({ kind: 'email', value: email }), claimKey({ kind: 'handle', value: handle })]) {
        due.set(key, id)
        const claim = held.get(key)
        if (claim?.ownerId !== id || claim.state !== 'confirmed')
          checker.report(`M5: ${id} has no claim on ${email} or @${handle}: ${JSON.stringify(claim)}`)
      }
    const ids = new Set(accounts.map(({ id }) => id))
    for (const { id, ownerId, state } of claims) {
      if (!ids.has(ownerId)) checker.report(`M5: the claim ${id} is held by ${ownerId}, which does not exist`)
      if (state !== 'retired' && due.get(id) !== ownerId)
        checker.report(`M5: the ${state} claim ${id} is held by ${ownerId}, which does not have it`)
    }
  }
}
