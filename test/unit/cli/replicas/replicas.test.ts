import { readFileSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { addressOfDeployed, openDeployed } from '../../../../src/cli/replicas/databases.ts'
import { command as enableCommand } from '../../../../src/cli/replicas/enable.command.ts'
import { replicaStatus } from '../../../../src/cli/replicas/replica-status.ts'
import { switchReplicas } from '../../../../src/cli/replicas/switch-replicas.ts'
import { addShards } from '../../../../src/cli/shards/add-shards.ts'
import { remoteHost } from '../../../../src/cli/shards/remote-host.ts'
import { connect } from '../../../../src/cli/shell/client.ts'
import { UserError } from '../../../../src/cli/shell/errors.ts'
import { type PlatformDouble, startPlatform } from '../../../support/platform/double.ts'
import { type SmallDeployment, smallDeployment } from '../../../support/platform/small-deployment.ts'

let platform: PlatformDouble
let deployment: SmallDeployment
let token: string

beforeEach(async () => {
  platform = await startPlatform({ serving: 'stand-in' })
  deployment = smallDeployment(platform)
  token = ((await deployment.deploy()).json as { operatorToken: string }).operatorToken
  deployment.said.length = 0
})
afterEach(async () => {
  deployment.close()
  await platform.close()
})

const enable = (only?: string) => switchReplicas(deployment.deployment(), { mode: 'auto', only })
const disable = (only?: string) => switchReplicas(deployment.deployment(), { mode: 'disabled', only })
const status = (only?: string, url = platform.siteUrl) =>
  replicaStatus(deployment.deployment(), { only, connect: async () => connect({ url, token }) })
const modes = () => platform.databases.databases.map(({ replication }) => replication)
const changes = () => platform.calls.filter(({ method }) => method === 'PUT')

async function deployWith(replicas: 'on' | 'off'): Promise<void> {
  const text = readFileSync(deployment.configPath, 'utf8')
  writeFileSync(deployment.configPath, text.replace(/^REPLICAS = .*$/m, `REPLICAS = "${replicas}"`))
  await deployment.deploy({ operatorToken: token })
  deployment.said.length = 0
}

test('enable switches every database, reports each, and says what to do next; a second run changes nothing', async () => {
  const { text, isFailure } = await enable()
  expect(modes()).toEqual(['auto', 'auto'])
  expect(deployment.said.toSorted()).toEqual(['SHARD_000  enabled', 'SHARD_001  enabled'])
  expect(isFailure).toBeUndefined()
  expect(text).toContain('Replicas enabled for 2 databases.')
  expect(text).toContain('Set REPLICAS = "on" under [vars] in the configuration, and deploy')
  const before = changes().length
  expect((await enable()).text).toContain('Replicas enabled for 0 databases. 2 databases already enabled.')
  expect(changes()).toHaveLength(before)
})

test('disable asks for REPLICAS=off if the configuration still has it on', async () => {
  await enable()
  await deployWith('on')
  const { text } = await disable()
  expect(modes()).toEqual(['disabled', 'disabled'])
  expect(text).toContain('The configuration still sets REPLICAS to on')
  expect(text).toContain('up to 24 hours')
})

test('only the named databases are switched, and an unknown one is refused before any', async () => {
  await expect(enable('SHARD_001,SHARD_009')).rejects.toThrow('The configuration binds no shard "SHARD_009".')
  expect(modes()).toEqual(['disabled', 'disabled'])
  await enable('SHARD_001')
  expect(modes()).toEqual(['disabled', 'auto'])
})

test('a failure names its database and how to resume; the next run does the rest', async () => {
  platform.goAwayAt(6) // two look-ups by name, two states; the second change is lost
  const { json, text, isFailure } = await enable()
  platform.recover()
  expect(isFailure).toBe(true)
  const { items } = json as { items: { binding: string; database: string; result: string }[] }
  expect(items.map(({ result }) => result).toSorted()).toEqual(['failed', 'switched'])
  const lost = items.find(({ result }) => result === 'failed')!
  expect(text).toMatch(new RegExp(`${lost.binding} \\(${lost.database}\\) failed: .* did not answer PUT`))
  expect(text).toContain('1 database enabled, 0 already enabled, 0 not started.')
  expect(text).toContain('run the command again to resume')
  expect((await enable()).text).toContain('Replicas enabled for 1 database. 1 database already enabled.')
  expect(modes()).toEqual(['auto', 'auto'])
})

test('the command waits while the API accepts no more calls', async () => {
  platform.alwaysFail('429')
  const real = deployment.deployment()
  const waits: number[] = []
  const sleep = async (ms: number) => {
    waits.push(ms)
    platform.recover()
  }
  const { isFailure } = await switchReplicas({ ...real, sleep }, { mode: 'auto', only: undefined })
  expect(isFailure).toBeUndefined()
  expect(waits.every((ms) => ms === 1_000)).toBe(true)
  expect(deployment.said).toContain('The API accepts no more calls for 1 s. Waiting.')
  expect(modes()).toEqual(['auto', 'auto'])
})

test('a local application has no replicas', () => {
  expect(() => openDeployed({})).toThrow('Local databases have no replicas.')
  expect(() => enableCommand.run(() => connect({ url: platform.siteUrl, token }), [], {})).toThrow(UserError)
})

test('the application is found as deploy finds it', async () => {
  expect(await addressOfDeployed(deployment.deployment(), undefined)).toBe('https://banyan.example')
})

test('a new shard has no replicas, and shards add says so', async () => {
  await addShardIn('weur')
  expect(deployment.said.filter((line) => line.includes('replicas'))).toEqual([])
  await deployWith('on')
  await addShardIn('weur')
  expect(deployment.said).toContain(
    'New databases have no replicas yet. To enable them: npm run banyan -- replicas enable --remote',
  )
  expect(modes()).toEqual(['disabled', 'disabled', 'disabled', 'disabled'])
})

test('status shows the settings, regions and who answered, of the named shards or of all', async () => {
  await addShardIn('eeur')
  await deployWith('on')
  await enable('SHARD_001')
  const { text, json } = await status()
  expect(text.split('\n').slice(0, 4)).toEqual([
    'shard      replication  primary  jurisdiction  answered by',
    'SHARD_000  disabled     ENAM     –             primary ENAM × 4',
    'SHARD_001  auto         ENAM     –             replica WEUR × 4',
    'SHARD_002  disabled     EEUR     –             primary EEUR × 4',
  ])
  expect(text).toContain(
    'The application runs with REPLICAS=on, but these databases have no replicas: SHARD_000, SHARD_002. Their reads take longer, without a benefit.',
  )
  expect(json).toMatchObject({ replicas: 'on', agrees: false })
  const one = await status('SHARD_001')
  expect(one.json).toMatchObject({ replicas: 'on', agrees: true, items: [{ binding: 'SHARD_001', mode: 'auto' }] })
  expect(one.text).toContain('REPLICAS=on. Replicas answered 4 of 4 reads.')
})

async function addShardIn(hint: string): Promise<void> {
  const location = { hint, jurisdiction: null }
  const connection = connect({ url: platform.siteUrl, token })
  await addShards(remoteHost(deployment.deployment(), { connection, operatorToken: token, location }), 1)
}

test('status says that replicas have no benefit while REPLICAS is off, and when all agree', async () => {
  expect((await status()).text).toContain('The application runs with REPLICAS=off. All reads go to the primaries.')
  await enable()
  const { text, json } = await status()
  expect(text).toContain('REPLICAS=off, so it never reads from the replicas of SHARD_000, SHARD_001.')
  expect(text).toContain('They cost nothing, but have no benefit.')
  expect(json).toMatchObject({ replicas: 'off', agrees: false })
})

test('status shows the databases even if the application does not answer', async () => {
  await enable('SHARD_000')
  const { text, json } = await status(undefined, 'http://127.0.0.1:9')
  expect(text).toContain('SHARD_000  auto         ENAM     –             –')
  expect(text).toContain(
    'The application did not report which members answer its reads: http://127.0.0.1:9 does not answer',
  )
  expect(json).toMatchObject({ replicas: null, agrees: null })
})

test('status reads all pages of the application', async () => {
  const asked: string[] = []
  const page = (binding: string, next: string | null) => ({
    replicas: 'on',
    waited: 12,
    fellBack: 1,
    items: [{ binding, members: [{ region: null, isPrimary: true, reads: 4 }], error: null }],
    next,
  })
  const get = async (path: string) => {
    asked.push(path)
    return (asked.length === 1 ? page('SHARD_000', 'SHARD_000') : page('SHARD_001', null)) as never
  }
  await enable()
  const { text } = await replicaStatus(deployment.deployment(), { only: undefined, connect: async () => ({ get }) })
  expect(asked).toEqual(['/operator/v1/replicas', '/operator/v1/replicas?after=SHARD_000'])
  expect(text).toContain('SHARD_001  auto         ENAM     –             primary × 4')
  expect(text).toContain(
    'Replicas answered 0 of 8 reads. Before that, in the same isolate, 12 reads waited for a replica, and 1 went to the primary instead.\nThe platform chooses the nearest member, which can be the primary.',
  )
})
