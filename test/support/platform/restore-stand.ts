import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect } from 'vitest'
import type { RestoreContribution } from '../../../src/cli/restore/noun.ts'
import { abandon, compare, restore } from '../../../src/cli/restore/restore.ts'
import { NotNow, UserError } from '../../../src/cli/shell/errors.ts'
import { type PlatformDouble, startPlatform } from './double.ts'
import { type SmallDeployment, smallDeployment } from './small-deployment.ts'

/** Stands for the operators' API of the deployed application. */
interface MapDouble {
  state: string
  epoch: number
  changes: string[]
  moves: { id: string; state: string; source: string; target: string }[]
  /** Called when the shard is put into service. */
  onServing: () => Promise<void>
  /** What becomes of a change to a state: it is refused, it never arrives, or it is made and its answer is lost, once. */
  failing: { to: string; how: 'refused' | 'away' | 'lost' } | null
}

/** A row that is no more than a row: time travel takes it back, and nothing else deletes it. */
export const MARK = "INSERT INTO claim_attempts (id, outcome, created_at) VALUES ('0000a', 'taken', 1)"

/**
 * A deployment of two shards on a double of the platform, whose first shard has two slots of users: a new one for each test
 * of the file that calls this. `nouns`: what the application's nouns contribute to a restore.
 */
export function restoreStand(nouns: RestoreContribution[]) {
  let platform: PlatformDouble
  let deployment: SmallDeployment
  let map: MapDouble
  const noteFile = path.join(tmpdir(), `banyan-restore-test-${randomUUID()}.json`)
  /** A list beside the note: `claims`, `accounts`. */
  const listFile = (name: string) => noteFile.replace('.json', `.${name}.jsonl`)

  beforeEach(async () => {
    platform = await startPlatform({ serving: 'stand-in' })
    deployment = smallDeployment(platform)
    await deployment.deploy()
    map = { state: 'serving', epoch: 1, changes: [], moves: [], failing: null, onServing: async () => undefined }
    await write("INSERT INTO shard_identity (id, deployment, shard) VALUES (1, 'd', 'shard-000')")
    await write(
      "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', '0000', 'active', 1), ('users', '0001', 'active', 1)",
    )
  })

  afterEach(async () => {
    const lists = ['claims', ...nouns.flatMap(({ credentials }) => credentials?.names.rows ?? [])]
    for (const file of [noteFile, ...lists.flatMap((name) => [listFile(name), listFile(`${name}-before`)])])
      rmSync(file, { force: true })
    deployment.close()
    await platform.close()
  })

  const shard = () => platform.databases.databases.find(({ name }) => name === 'banyan-shard-000')!
  const write = (sql: string) => shard().query([{ sql }])
  const read = async (sql: string) => (await shard().engine.batch([{ sql }]))[0]!.results
  const other = () => platform.databases.databases.find(({ name }) => name === 'banyan-shard-001')!

  /** A moment between what was written before and what is written after. */
  async function moment(): Promise<string> {
    await new Promise((resolve) => setTimeout(resolve, 5))
    const now = new Date().toISOString()
    await new Promise((resolve) => setTimeout(resolve, 5))
    return now
  }

  const take = (to: string, shardId = 'shard-000') =>
    restore(deployment.deployment(), { ...about(), shard: shardId, to, now: Date.now() })
  const lookAgain = () => compare(deployment.deployment(), about())
  const giveUp = () => abandon(deployment.deployment(), about())
  const about = () => ({
    shard: 'shard-000',
    noteFile,
    nouns,
    connection: {
      get: async (asked: string) =>
        (asked.startsWith('/operator/v1/moves')
          ? { items: map.moves, next: null }
          : {
              epoch: map.epoch,
              items: [{ id: 'shard-000', binding: 'SHARD_000', state: map.state, slots: 2 }],
            }) as never,
      patch: async (_: string, body: object) => {
        const { state } = body as { state: string }
        const how = map.failing?.to === state ? map.failing.how : null
        if (how === 'refused' || how === 'lost') map.failing = null
        if (how === 'away') throw new NotNow('answered 503', 'Try again.')
        if (how === 'refused') throw new UserError('answered 409 SHARD_IN_MOVE', 'Try again in 5 s.')
        if (state === 'serving') await map.onServing()
        map.state = state
        map.changes.push(map.state)
        if (how === 'lost') throw new NotNow('does not answer', 'The operation may still have completed.')
        return {} as never
      },
    },
  })

  /** How many calls of the platform a restore makes until the shard serves. */
  async function callsUntilServing(to: string): Promise<number> {
    const before = platform.calls.length
    let calls = 0
    map.onServing = async () => {
      calls = platform.calls.length - before
    }
    await take(to)
    map.onServing = async () => undefined
    return calls
  }

  /** A run that is killed once `stage` is on disk: nothing more of it is carried out. */
  async function killedAt(stage: 'taken-out' | 'travelling' | 'reconciled', to: string): Promise<void> {
    const calls = { 'taken-out': 4, travelling: 11, reconciled: 0 }[stage]
    if (calls > 0) platform.goAwayAt(calls)
    else map.failing = { to: 'serving', how: 'away' }
    await expect(take(to)).rejects.toThrow(/did not answer|answered 503/)
    platform.recover()
    map.failing = null
    expect(JSON.parse(readFileSync(noteFile, 'utf8'))).toMatchObject({ stage })
    expect(map.state).toBe('restoring')
  }

  /** What is listed beside the note. */
  function listed<T>(name: string): T[] {
    const text = existsSync(listFile(name)) ? readFileSync(listFile(name), 'utf8') : ''
    return text.split('\n').flatMap((line) => (line === '' ? [] : (JSON.parse(line) as T)))
  }

  return {
    get platform() {
      return platform
    },
    get deployment() {
      return deployment
    },
    get map() {
      return map
    },
    ...{ noteFile, listFile, listed, shard, other, write, read, moment, take, lookAgain, giveUp, about },
    ...{ callsUntilServing, killedAt },
  }
}

/** SQL: a live session. */
export const session = (id: string, user = id) =>
  `INSERT INTO sessions (id, user_id, secret_hash, retry_secret_hash, user_agent, created_at, last_seen_at, idle_at, expires_at)
   VALUES ('${id}', '${user}', 'a', '', '', 1, 1, 9e15, 9e15)`
