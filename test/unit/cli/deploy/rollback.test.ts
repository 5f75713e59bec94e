import { readFileSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { rollback } from '../../../../src/cli/deploy/rollback.ts'
import type { UserError } from '../../../../src/cli/shell/errors.ts'
import { withMoreShards } from '../../../../src/cli/wrangler/shard-bindings.ts'
import { type PlatformDouble, startPlatform } from '../../../support/platform/double.ts'
import { faults } from '../../../support/platform/http.ts'
import { type SmallDeployment, smallDeployment } from '../../../support/platform/small-deployment.ts'

let platform: PlatformDouble
let deployment: SmallDeployment
const code = { hash: 'one' }

beforeEach(async () => {
  platform = await startPlatform({ serving: 'stand-in' })
  deployment = smallDeployment(platform, code)
  await deployment.deploy()
})

afterEach(async () => {
  deployment.close()
  await platform.close()
})

const shard = (number: string, slots: number) => ({
  id: `shard-${number}`,
  binding: `SHARD_${number}`,
  state: 'serving',
  slots,
})
const two = [shard('000', 32_768), shard('001', 32_768)]
const live = () => platform.scripts.get('banyan').live!.id

const goBack = ({ shards = two, isDryRun = false, ...options }: GoingBack = {}) =>
  rollback(deployment.deployment(), { address: platform.siteUrl, shards: async () => shards, isDryRun, ...options })

/** The answer of a broken live version. */
const unreadable = () => Promise.reject(new Error('it answered 500'))
const goBackBlindly = (options: Omit<GoingBack, 'shards'> = {}) =>
  rollback(deployment.deployment(), { address: platform.siteUrl, shards: unreadable, isDryRun: false, ...options })

interface GoingBack {
  shards?: typeof two
  to?: string
  isWithoutMap?: boolean
  isDryRun?: boolean
}

async function deployAnother(): Promise<{ before: string; after: string }> {
  const before = live()
  code.hash = `after ${code.hash}`
  await deployment.deploy()
  return { before, after: live() }
}

async function deployWithThirdShard(): Promise<void> {
  const text = readFileSync(deployment.configPath, 'utf8')
  const third = {
    binding: 'SHARD_002',
    databaseName: 'banyan-shard-002',
    databaseId: '00000000-0000-4000-8000-000000000002',
  }
  writeFileSync(deployment.configPath, withMoreShards(text, [third]))
  await deployment.deploy()
}

test('a rollback makes the previous version live; a second run says so and changes nothing', async () => {
  const first = await deployAnother()
  await goBack()
  expect(live()).toBe(first.before)
  for (const isDryRun of [false, true]) {
    const { text } = await goBack({ isDryRun })
    expect(text).toContain(`Version ${first.before} is already live, after a rollback from ${first.after}.`)
    expect(text).toContain('--to VERSION')
  }
  expect(live()).toBe(first.before)
  await goBack({ to: first.after })
  expect(live()).toBe(first.after)
})

test('after a newer version was deployed, a rollback leads to the last good version', async () => {
  const { before } = await deployAnother()
  await goBack()
  await deployAnother()
  await goBack()
  expect(live()).toBe(before)
})

test('a version that another tool rolled back does not become live again', async () => {
  const { before, after } = await deployAnother()
  const { deployments } = platform.scripts.get('banyan')
  const [first] = deployments.filter(({ versions }) => versions[0]!.version_id === before)
  deployments.unshift({ ...first!, id: 'of the dashboard', annotations: {} })
  expect((await goBack()).text).toContain(`is already live, after a rollback from ${after}`)
  expect(live()).toBe(before)
})

test('the dry run changes nothing', async () => {
  const { after } = await deployAnother()
  const { text } = await goBack({ isDryRun: true })
  expect(text).toMatch(/^Would roll back/)
  expect(live()).toBe(after)
})

test('a version without a shard of the map is refused until the map lacks that shard', async () => {
  await deployWithThirdShard()
  const after = live()
  await expect(goBack({ shards: [...two, shard('002', 21_845)] })).rejects.toThrow(
    /does not bind shards of the live map \(SHARD_002 \(shard-002, 21,845 slots\)\), so users there would get errors\.$/,
  )
  expect(live()).toBe(after)
  await goBack({ shards: two })
  expect(live()).not.toBe(after)
})

test('a version that binds another database under the same name is refused', async () => {
  const { before } = await deployAnother()
  const version = platform.scripts.get('banyan').versions.find(({ id }) => id === before)!
  version.bindings.find(({ name }) => name === 'SHARD_001')!.id = 'another'
  await expect(goBack()).rejects.toThrow(/does not bind shards of the live map \(SHARD_001/)
})

test('a rollback is refused without an earlier version, to the live one and to an unknown one', async () => {
  await expect(goBack()).rejects.toThrow('There is no earlier version to roll back to.')
  await expect(goBack({ to: live() })).rejects.toThrow('is already live')
  await expect(goBack({ to: 'nonsense' })).rejects.toThrow('There is no version nonsense.')
})

test('a version too broken to show the map is rolled back to one that binds as many shards', async () => {
  const { before } = await deployAnother()
  await goBackBlindly()
  expect(live()).toBe(before)
  expect(deployment.said).toContain('The map can’t be read: it answered 500')
})

test('an empty map counts as unreadable, because the operators’ API of a working version lists shards', async () => {
  await deployWithThirdShard()
  await expect(goBack({ shards: [] })).rejects.toThrow(/lacks bindings of the live version \(SHARD_002\)/)
})

test('without the map, only --without-map rolls back to a version that lacks a shard of the live one', async () => {
  await deployWithThirdShard()
  const after = live()
  const refused = await goBackBlindly().catch((error: UserError) => error)
  expect(refused).toMatchObject({ message: expect.stringMatching(/lacks bindings of the live version \(SHARD_002\)/) })
  expect((refused as UserError).fix).toContain('--without-map')
  expect(live()).toBe(after)
  await goBackBlindly({ isWithoutMap: true })
  expect(live()).not.toBe(after)
})

test('without the map, another database under the same name is refused even with --without-map', async () => {
  const { before, after } = await deployAnother()
  const version = platform.scripts.get('banyan').versions.find(({ id }) => id === before)!
  version.bindings.find(({ name }) => name === 'SHARD_001')!.id = 'another'
  for (const isWithoutMap of [false, true])
    await expect(goBackBlindly({ isWithoutMap })).rejects.toThrow(
      /binds SHARD_001 to other databases than the live version does/,
    )
  expect(live()).toBe(after)
})

test('if the map can be read, it decides even with --without-map', async () => {
  await deployWithThirdShard()
  const used = [...two, shard('002', 21_845)]
  await expect(goBack({ shards: used, isWithoutMap: true })).rejects.toThrow(/does not bind shards of the live map/)
})

test.each(faults)('%s at the change itself: it took effect once or not at all', async (fault) => {
  const { before, after } = await deployAnother()
  platform.failAt(4, fault)
  await goBack().catch((error: Error) => expect(error.name).toBe('UserError'))
  platform.recover()
  expect([before, after]).toContain(live())
  if (live() === after) await goBack()
  expect(live()).toBe(before)
  expect(platform.scripts.get('banyan').deployments).toHaveLength(3)
})
