import { readFileSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { rollback } from '../../../src/cli/rollback.ts'
import { withMoreShards } from '../../../src/cli/wrangler-config.ts'
import { type PlatformDouble, startPlatform } from '../../support/platform/double.ts'
import { faults } from '../../support/platform/http.ts'
import { type SmallDeployment, smallDeployment } from '../../support/platform/small-deployment.ts'

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

const goBack = (options: { shards?: typeof two; to?: string; isDryRun?: boolean } = {}) =>
  rollback(deployment.deploying(), {
    address: platform.siteUrl,
    shards: async () => options.shards ?? two,
    to: options.to,
    isDryRun: options.isDryRun ?? false,
  })

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

test('the version before is live again, and from there on the one before that', async () => {
  const first = await deployAnother()
  await goBack()
  expect(live()).toBe(first.before)
  await goBack()
  expect(live()).toBe(first.after)
})

test('the dry run changes nothing', async () => {
  const { after } = await deployAnother()
  const { text } = await goBack({ isDryRun: true })
  expect(text).toMatch(/^Would go back/)
  expect(live()).toBe(after)
})

test('a version without a shard that the map uses is refused, and stays so until the map is without it', async () => {
  await deployWithThirdShard()
  const after = live()
  await expect(goBack({ shards: [...two, shard('002', 21_845)] })).rejects.toThrow(
    /does not bind what the live map uses: SHARD_002 \(shard-002, 21,845 slots\)/,
  )
  expect(live()).toBe(after)
  await goBack({ shards: two })
  expect(live()).not.toBe(after)
})

test('a version that binds another database under the same name is refused', async () => {
  const { before } = await deployAnother()
  const version = platform.scripts.get('banyan').versions.find(({ id }) => id === before)!
  version.bindings.find(({ name }) => name === 'SHARD_001')!.id = 'another'
  await expect(goBack()).rejects.toThrow(/does not bind what the live map uses: SHARD_001/)
})

test('with nothing to go back to, it says so', async () => {
  await expect(goBack()).rejects.toThrow('There is no version to go back to.')
  await expect(goBack({ to: live() })).rejects.toThrow('is live')
  await expect(goBack({ to: 'nonsense' })).rejects.toThrow('There is no version nonsense.')
})

test('the map is asked before anything is changed: while it is away nothing is', async () => {
  const { after } = await deployAnother()
  const away = rollback(deployment.deploying(), {
    address: platform.siteUrl,
    shards: () => Promise.reject(new Error('away')),
    isDryRun: false,
  })
  await expect(away).rejects.toThrow('away')
  expect(live()).toBe(after)
})

test.each(faults)('%s at the change itself: afterwards it is done once, or plainly not', async (fault) => {
  const { before, after } = await deployAnother()
  platform.failAt(4, fault)
  await goBack().catch((error: Error) => expect(error.name).toBe('UserError'))
  platform.recover()
  expect([before, after]).toContain(live())
  if (live() === after) await goBack()
  expect(live()).toBe(before)
  expect(platform.scripts.get('banyan').deployments).toHaveLength(3)
})
