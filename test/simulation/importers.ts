import { type ImportOutcome, importUsers } from '../../src/app/imports/imports.ts'
import { claimSpecsOf, type ImportRecord, idOf, isRefusal, readRecord } from '../../src/app/imports/records.ts'
import { verifyUsers } from '../../src/app/imports/verification.ts'
import { slotOf } from '../../src/core/ids.ts'
import { claimKey } from '../../src/sharding/claims.ts'
import { noToken } from '../../src/web/causal-token.ts'
import { type Answered, ask } from './ask.ts'
import type { History } from './clients.ts'
import { type External, SOURCE } from './template.ts'
import type { SimulatedRequest, World } from './world.ts'

const USERS_MAX = 5

/**
 * An operator who imports users from another application, in batches over all shards, repeatedly. Some requests are
 * sent twice at once, some after a correction, and some want values that a user who signs up also wants.
 */
export class Importer {
  readonly #world: World
  readonly #history: History
  readonly #name: string
  isStopped = false

  constructor(world: World, history: History, name: string) {
    this.#world = world
    this.#history = history
    this.#name = name
  }

  start(): void {
    const { scheduler } = this.#world
    scheduler.after(scheduler.between(100, 1_500), () => void this.#live())
  }

  async #live(): Promise<void> {
    const { scheduler } = this.#world
    while (!this.isStopped) {
      const imported = [...this.#history.imported.values()]
      if (imported.length > 0 && scheduler.chance(0.4)) await this.#verify(scheduler.pick(imported))
      else await this.#import()
      await scheduler.sleep(scheduler.between(100, 1_800))
    }
  }

  async #import(): Promise<void> {
    const { scheduler, template } = this.#world
    const externals = new Set(
      Array.from({ length: scheduler.between(1, USERS_MAX) }, () => scheduler.pick(template.externals)),
    )
    const users = [...externals].map((external) => this.#recordOf(external))
    const requests = scheduler.chance(0.2) ? 2 : 1
    await Promise.all(Array.from({ length: requests }, () => this.#send(users)))
  }

  async #send(users: ImportRecord[]): Promise<void> {
    const outcome = await this.#ask(({ tiers }) => importUsers(tiers, { source: SOURCE, users }))
    if (!('value' in outcome)) return
    for (const [index, record] of users.entries()) this.#judge(record, outcome.value[index]!)
  }

  /** The same record each time, except for an occasional correction. */
  #recordOf({ externalId, createdAt }: External): ImportRecord {
    const { scheduler, template } = this.#world
    const known = this.#history.records.get(externalId)
    if (known && !scheduler.chance(0.1)) return known
    // Some of these values are also wanted by users who sign up.
    const handle = scheduler.pick(template.handles.slice(10, 34))
    const email = scheduler.pick(template.emails.slice(16, 50))
    const record = { externalId, createdAt, handle, email }
    this.#history.records.set(externalId, record)
    return record
  }

  #judge(record: ImportRecord, { outcome, id, code }: ImportOutcome): void {
    const { checker } = this.#world
    const expected = this.#read(record)
    if (outcome === 'refused' && code !== 'EMAIL_TAKEN' && code !== 'HANDLE_TAKEN')
      checker.report(`M5: ${record.externalId} is refused: ${code}`)
    if (outcome !== 'imported' && outcome !== 'there') return
    if (id !== expected.id) checker.report(`M3: ${record.externalId} became ${id}`)
    if (outcome === 'there') return
    if (this.#history.imported.has(expected.id)) checker.report(`M3: ${record.externalId} was imported twice`)
    this.#history.imported.set(expected.id, record)
    for (const value of [record.handle, record.email]) {
      const other = this.#history.told.get(value)
      if (other && other !== id) checker.report(`M5: ${value} was given to ${other} and to ${id}`)
      this.#history.told.set(value, expected.id)
    }
    for (const key of expected.claims) {
      const owner = checker.ownerOf('claims', slotOf(key))
      const claim = checker.ask(owner, 'SELECT owner_id AS ownerId, state FROM claims WHERE key = ?').get(key)
      if (claim?.ownerId !== id || claim.state !== 'confirmed')
        checker.report(`M5: ${record.externalId} was imported without its claim ${key}: ${JSON.stringify(claim)}`)
    }
  }

  /** A client that was told that a user exists here finds it, with all its values. */
  async #verify(record: ImportRecord): Promise<void> {
    const outcome = await this.#ask(({ tiers }) => verifyUsers(tiers, { source: SOURCE, users: [record] }))
    if (!('value' in outcome)) return
    const { isHere, differences } = outcome.value[0]!
    if (!isHere) this.#world.checker.report(`M4: ${record.externalId} was imported, but is not found`)
    if (differences.length > 0)
      this.#world.checker.report(`M4: ${record.externalId} was imported, and differs: ${differences.join(', ')}`)
  }

  #read(record: ImportRecord): { id: string; claims: string[] } {
    const user = readRecord(record, this.#world.scheduler.now())
    if (isRefusal(user)) throw new Error(user.detail)
    return { id: idOf(SOURCE, user), claims: claimSpecsOf(SOURCE, user).map(claimKey) }
  }

  #ask<T>(body: (request: SimulatedRequest) => Promise<T>): Promise<Answered<T>> {
    return ask(this.#world, { name: this.#name, causal: noToken, effect: null }, body)
  }
}
