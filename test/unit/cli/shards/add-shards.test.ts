import { readFileSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { remoteShards } from '../../../../src/cli/migrations/remote-shards.ts'
import { databasesAt, type Location, locationOf, makeOne } from '../../../../src/cli/platform/resources.ts'
import { addShards } from '../../../../src/cli/shards/add-shards.ts'
import { liveAddress, remoteHost } from '../../../../src/cli/shards/remote-host.ts'
import { connect } from '../../../../src/cli/shell/client.ts'
import { localShards, shardBindings, withMoreShards } from '../../../../src/cli/wrangler/shard-bindings.ts'
import { type PlatformDouble, startPlatform } from '../../../support/platform/double.ts'
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

const nowhere: Location = { hint: null, jurisdiction: null }
const text = () => readFileSync(deployment.configPath, 'utf8')
const bindings = () => shardBindings(text()).map(({ binding }) => binding)
const names = () => platform.databases.databases.map(({ name }) => name)

async function deployed(): Promise<string> {
  return ((await deployment.deploy()).json as { operatorToken: string }).operatorToken
}

function host(operatorToken: string, location: Partial<Location> = {}) {
  const connection = connect({ url: platform.siteUrl, token: operatorToken })
  return remoteHost(deployment.deployment(), {
    connection,
    operatorToken,
    location: { ...nowhere, ...location },
  })
}

/** The state that a run leaves if it dies after it bound the shard. */
async function leaveBound(location: Partial<Location>): Promise<void> {
  await makeOne(databasesAt({ ...nowhere, ...location }), deployment.deployment().platform, 'banyan-shard-002')
  writeFileSync(deployment.configPath, withMoreShards(text(), localShards(2, 1)))
}

test('edits of the configuration while databases are created stay', async () => {
  const token = await deployed()
  const there = host(token)
  await addShards(
    {
      ...there,
      async prepare(shards) {
        await there.prepare(shards)
        writeFileSync(deployment.configPath, text().replace('[vars]', '[vars]\nMEANWHILE = "yes"'))
      },
      release: async () => {
        expect(text()).toContain('MEANWHILE = "yes"')
        await deployment.deploy({ operatorToken: token })
      },
    },
    1,
  )
  expect(text()).toContain('MEANWHILE = "yes"')
  expect(bindings()).toEqual(['SHARD_000', 'SHARD_001', 'SHARD_002'])
})

test('a shard that another command bound meanwhile is not bound twice', async () => {
  const token = await deployed()
  const there = host(token)
  const racing = async () => writeFileSync(deployment.configPath, withMoreShards(text(), localShards(2, 1)))
  await expect(addShards({ ...there, prepare: racing }, 1)).rejects.toThrow('SHARD_002 is already bound')
  expect(bindings()).toEqual(['SHARD_000', 'SHARD_001', 'SHARD_002'])
})

test.each([
  ['jurisdiction', { jurisdiction: 'eu' }],
  ['region', { hint: 'weur' }],
])('a database that a previous run left in another %s than requested is refused', async (_, wish) => {
  const token = await deployed()
  await leaveBound({})
  const before = await platform.snapshot()
  await expect(addShards(host(token, wish), 2)).rejects.toThrow(
    'The database banyan-shard-002 already exists, in ENAM and no jurisdiction, and cannot be moved.',
  )
  expect(await platform.snapshot()).toEqual(before)
})

test.each([{ hint: 'weur' }, {}])('a leftover database in the requested location is used: %o', async (wish) => {
  const token = await deployed()
  await leaveBound({ hint: 'weur' })
  await addShards(host(token, wish), 1)
  expect(names()).toEqual(['banyan-shard-000', 'banyan-shard-001', 'banyan-shard-002'])
  expect(bindings()).toEqual(['SHARD_000', 'SHARD_001', 'SHARD_002'])
})

test('a location is a region or a jurisdiction that D1 has, and not both', () => {
  expect(locationOf({ location: 'oc' })).toEqual({ hint: 'oc', jurisdiction: null })
  for (const jurisdiction of ['eu', 'fedramp', 'us'])
    expect(locationOf({ jurisdiction })).toEqual({ hint: null, jurisdiction })
  expect(() => locationOf({ location: 'mars' })).toThrow('--location is "mars".')
  expect(() => locationOf({ jurisdiction: 'uk' })).toThrow('--jurisdiction is "uk".')
  expect(() => locationOf({ location: 'oc', jurisdiction: 'eu' })).toThrow('cannot be combined')
})

test('an application that was never deployed gets no shards', async () => {
  await expect(liveAddress(deployment.deployment(), undefined, undefined)).rejects.toThrow(
    'banyan is not deployed yet.',
  )
})

test('the shards join the configuration’s application, and another BANYAN_URL is refused', async () => {
  await deployed()
  const address = (url?: string, usual?: string) => liveAddress(deployment.deployment(), url, usual)
  expect(await address()).toBe('https://banyan.example')
  expect(await address(undefined, 'http://localhost:8787')).toBe('https://banyan.example')
  expect(await address('https://other.example', 'https://staging.example')).toBe('https://other.example')
  await expect(address(undefined, 'https://staging.example')).rejects.toThrow(
    'BANYAN_URL is https://staging.example, but the configuration’s application is at https://banyan.example.',
  )
})

/** The configuration has an id of another account, but the account of the calls has databases with the same names. */
async function inAnotherAccount(): Promise<string> {
  const token = await deployed()
  writeFileSync(deployment.configPath, text().replace(platform.databases.databases[0]!.id, ID))
  return token
}
const ID = '11111111-2222-4333-8444-555555555555'

const otherId = `has the id ${ID} for the database banyan-shard-000, but in this account its id is `

test('databases of another account that have the same names are not migrated', async () => {
  await inAnotherAccount()
  await expect(remoteShards(deployment.deployment())).rejects.toThrow(otherId)
})

test('no shard is created in another account', async () => {
  const token = await inAnotherAccount()
  const before = names()
  await expect(addShards(host(token), 1)).rejects.toThrow(otherId)
  expect(names()).toEqual(before)
})

test('different accounts in the configuration and the environment are refused', () => {
  writeFileSync(deployment.configPath, `account_id = "another"\n${text()}`)
  expect(() => deployment.deployment()).toThrow('the configuration belongs to the account another')
  platform.environment.CLOUDFLARE_ACCOUNT_ID = ''
  expect(deployment.deployment().platform.accountId).toBe('another')
})
