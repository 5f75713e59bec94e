import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { StepOutcome } from '../../../../src/cli/deploy/steps.ts'
import { readConfig } from '../../../../src/cli/wrangler/config.ts'
import { type PlatformDouble, startPlatform } from '../../../support/platform/double.ts'
import { cleanRun, deployTwice, inAnotherWorld } from '../../../support/platform/faulty-deployments.ts'
import { faults } from '../../../support/platform/http.ts'
import { type SmallDeployment, smallDeployment } from '../../../support/platform/small-deployment.ts'

let platform: PlatformDouble
let deployment: SmallDeployment

beforeEach(async () => {
  platform = await startPlatform({ serving: 'stand-in' })
  deployment = smallDeployment(platform)
})

afterEach(async () => {
  deployment.close()
  await platform.close()
})

const mutating = () => platform.calls.filter(({ method, path }) => method !== 'GET' && !/\/query$/.test(path))
const stepsOf = ({ json }: { json: unknown }) => (json as { steps: StepOutcome[] }).steps
const results = ({ json }: { json: unknown }) =>
  new Set((json as { steps: { result: string }[] }).steps.map(({ result }) => result))
const tokenOf = ({ json }: { json: unknown }) => (json as { operatorToken?: string }).operatorToken

test('the dry run creates nothing, and names what a run would create', async () => {
  const before = readFileSync(deployment.configPath, 'utf8')
  const dry = await deployment.deploy({ isDryRun: true })
  expect(mutating()).toEqual([])
  expect(readFileSync(deployment.configPath, 'utf8')).toBe(before)
  const wet = await deployment.deploy()
  for (const step of stepsOf(wet).filter(({ result, step }) => result === 'done' && step !== 'Worker'))
    expect(stepsOf(dry)).toContainEqual({ ...step, result: 'would be done' })
})

test('a deployment serves from an empty account; a second run changes nothing', async () => {
  const first = await deployment.deploy()
  const after = await platform.snapshot()
  const config = readConfig(readFileSync(deployment.configPath, 'utf8'))
  expect(config.shards.map(({ databaseId }) => databaseId)).toEqual(platform.databases.databases.map(({ id }) => id))
  const changed = { calls: mutating().length, modified: statSync(deployment.configPath).mtimeMs }
  const second = await deployment.deploy({ operatorToken: tokenOf(first)! })
  expect({ calls: mutating().length, modified: statSync(deployment.configPath).mtimeMs }).toEqual(changed)
  expect(await platform.snapshot()).toEqual(after)
  expect(results(second)).toEqual(new Set(['unchanged', 'passed']))
  expect(tokenOf(second)).toBeUndefined()
})

test('new databases are created near the given region; the existing ones stay where they are', async () => {
  const hints = () => platform.databases.databases.map(({ locationHint }) => locationHint)
  const near = (hint: string) => ({ location: { hint, jurisdiction: null } })
  const first = await deployment.deploy(near('weur'))
  expect(hints()).toEqual(['weur', 'weur'])
  await deployment.deploy({ operatorToken: tokenOf(first)!, ...near('apac') })
  expect(hints()).toEqual(['weur', 'weur'])
})

test('the operators’ token opens the API, and the signing key is never shown', async () => {
  const output = await deployment.deploy()
  const secrets = platform.scripts.get('banyan').live!.bindings.filter(({ type }) => type === 'secret_text')
  const value = (name: string) => secrets.find((secret) => secret.name === name)!.text as string
  expect(value('OPERATOR_TOKEN')).toBe(tokenOf(output))
  expect(value('SIGNING_KEY').length).toBeGreaterThanOrEqual(32)
  expect(JSON.stringify([output, deployment.said])).not.toContain(value('SIGNING_KEY'))
  expect(deployment.deployment().drawn.read()).toEqual({})
})

test('a changed bundle is uploaded, and keeps the secrets', async () => {
  const code = { hash: 'one' }
  deployment.close()
  deployment = smallDeployment(platform, code)
  await deployment.deploy()
  const secrets = () => platform.scripts.get('banyan').live!.bindings.filter(({ type }) => type === 'secret_text')
  const before = secrets()
  code.hash = 'two'
  await deployment.deploy()
  expect(platform.scripts.get('banyan').versions).toHaveLength(2)
  expect(secrets()).toEqual(before)
})

/** Every third call, which covers each kind of fault. test/long has every fault at every call. */
test('after a fault at any call, the next run ends in the same state as a clean one', {
  timeout: 60_000,
}, async () => {
  const { snapshot, calls } = await cleanRun()
  expect(calls).toBeGreaterThan(40)
  for (let number = 1; number <= calls; number += 3) await deployTwice(number, faults[number % 5]!, snapshot)
})

test('after an interruption at any call, the next run resumes', { timeout: 60_000 }, async () => {
  const { snapshot, calls } = await cleanRun()
  for (let number = 2; number <= calls; number += 5) await deployTwice(number, 'unreachable from here on', snapshot)
})

const refusals: [string, Partial<Record<string, string>>, string][] = [
  ['no token', { CLOUDFLARE_API_TOKEN: '' }, 'CLOUDFLARE_API_TOKEN is not set'],
  ['no account', { CLOUDFLARE_ACCOUNT_ID: '' }, 'CLOUDFLARE_ACCOUNT_ID is not set'],
  ['a wrong token', { CLOUDFLARE_API_TOKEN: 'wrong' }, 'answered 401'],
  ['another account', { CLOUDFLARE_ACCOUNT_ID: 'another' }, 'answered 403'],
]

test.each(refusals)('%s is refused before anything is created', async (_, environment, message) => {
  Object.assign(platform.environment, environment)
  await expect(deployment.deploy()).rejects.toThrow(message)
  expect(platform.calls.filter(({ method }) => method !== 'GET')).toEqual([])
})

test('a configuration with another account’s database does not create an empty one in its place', async () => {
  await deployment.deploy()
  await inAnotherWorld(async (world, its) => {
    writeFileSync(its.configPath, readFileSync(deployment.configPath))
    await expect(its.deploy()).rejects.toThrow('this account has no database of that name')
    expect(world.databases.databases).toEqual([])
  })
})

test('a configuration that lacks a shard of the live version is refused, unless the map lacks it too', async () => {
  const operatorToken = tokenOf(await deployment.deploy())!
  const text = readFileSync(deployment.configPath, 'utf8')
  const block = /\[\[d1_databases\]\]\nbinding = "SHARD_001"\n(?:[a-z_]+ = .*\n)+/
  writeFileSync(deployment.configPath, text.replace(block, ''))
  await expect(deployment.deploy()).rejects.toThrow('The live version binds SHARD_001')
  await expect(deployment.deploy({ operatorToken })).rejects.toHaveProperty(
    'fix',
    expect.stringContaining('the map names it'),
  )
  expect(platform.scripts.get('banyan').versions).toHaveLength(1)
  platform.removedFromMap.add('SHARD_001')
  await deployment.deploy({ operatorToken })
  expect(platform.scripts.get('banyan').versions).toHaveLength(2)
})

test('a configuration that binds a shard to another database is refused', async () => {
  await deployment.deploy()
  const live = platform.scripts.get('banyan').live!
  live.bindings.find(({ name }) => name === 'SHARD_001')!.id = 'the one with the users'
  await expect(deployment.deploy()).rejects.toThrow(
    'The live version binds SHARD_001 to the database the one with the users',
  )
})

test('a database migrated by a newer checkout is refused', async () => {
  await deployment.deploy()
  const [first] = platform.databases.databases
  await first!.query([{ sql: "INSERT INTO d1_migrations (name) VALUES ('9999_later.sql')" }])
  await expect(deployment.deploy()).rejects.toThrow('SHARD_000 has 9999_later.sql, which is not in migrations/shard')
})

test('a failing migration fails in the first shard only, and leaves nothing there', async () => {
  await deployment.deploy({ isDryRun: true })
  const { make } = await import('../../../../src/cli/platform/resources.ts').then(({ databases }) => databases)
  const id = await make(deployment.deployment().platform, 'banyan-shard-000')
  await platform.databases.get(id).query([{ sql: 'CREATE TABLE slots (mine TEXT)' }])
  await expect(deployment.deploy()).rejects.toThrow(/table slots already exists/)
  const tables = async (database: (typeof platform.databases.databases)[number]) =>
    (await database.engine.batch([{ sql: "SELECT name FROM sqlite_master WHERE type = 'table'" }]))[0]!.results
  const [first, second] = await Promise.all(platform.databases.databases.map(tables))
  expect([first, second]).toEqual([[{ name: 'slots' }], []])
})

test.each(['500 after', 'lost after'] as const)(
  '%s at the creation of a database: the run finds the database and continues',
  async (fault) => {
    const making = 3 // after the lookups of both
    platform.failAt(making, fault)
    await deployment.deploy()
    expect(platform.calls[making - 1]).toMatchObject({ method: 'POST', path: expect.stringMatching(/d1\/database$/) })
    expect(platform.databases.databases).toHaveLength(2)
  },
)

test('a missing trigger is set again, without an upload of a version', async () => {
  await deployment.deploy()
  const script = platform.scripts.get('banyan')
  for (const lose of [
    () => void script.schedules.splice(0),
    () => void platform.stores.queues[0]!.consumers.splice(0),
    () => {
      script.isOnWorkersDev = false
    },
  ]) {
    const whole = await platform.snapshot()
    lose()
    await deployment.deploy()
    expect(await platform.snapshot()).toEqual(whole)
  }
  expect(script.versions).toHaveLength(1)
})

test('after too many calls it retries a few times, and then says when to run it again', async () => {
  platform.failAt(1, '429')
  await deployment.deploy({ isDryRun: true })
  expect(platform.calls.filter(({ status }) => status === 429)).toHaveLength(1)
  platform.alwaysFail('429')
  await expect(deployment.deploy()).rejects.toThrow(/answered 429/)
  await expect(deployment.deploy()).rejects.toHaveProperty('fix', 'Too many calls. Run the same command again in 1 s.')
})
