import { readFileSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { remoteShards } from '../../../../src/cli/migrations/remote-shards.ts'
import { databasesAt, type Location, makeOne } from '../../../../src/cli/platform/resources.ts'
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

/** As a run leaves it that died after it had bound the shard. */
async function leaveBound(location: Partial<Location>): Promise<void> {
  await makeOne(databasesAt({ ...nowhere, ...location }), deployment.deployment().platform, 'banyan-shard-002')
  writeFileSync(deployment.configPath, withMoreShards(text(), localShards(2, 1)))
}

test('what is written into the configuration while databases are made stays there', async () => {
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

test('a shard that somebody else has bound meanwhile is not bound twice', async () => {
  const token = await deployed()
  const there = host(token)
  const racing = async () => writeFileSync(deployment.configPath, withMoreShards(text(), localShards(2, 1)))
  await expect(addShards({ ...there, prepare: racing }, 1)).rejects.toThrow('SHARD_002 is bound already')
  expect(bindings()).toEqual(['SHARD_000', 'SHARD_001', 'SHARD_002'])
})

test.each([
  ['jurisdiction', { jurisdiction: 'eu' }],
  ['region', { hint: 'weur' }],
])('a database left over from a run before, in another %s than asked for, is not gone on with', async (_, wish) => {
  const token = await deployed()
  await leaveBound({})
  const before = await platform.snapshot()
  await expect(addShards(host(token, wish), 2)).rejects.toThrow(
    'The database banyan-shard-002 is there already: it runs in ENAM, under no jurisdiction.',
  )
  expect(await platform.snapshot()).toEqual(before)
})

test.each([{ hint: 'weur' }, {}])('one that is where it was asked for is: %o', async (wish) => {
  const token = await deployed()
  await leaveBound({ hint: 'weur' })
  await addShards(host(token, wish), 1)
  expect(names()).toEqual(['banyan-shard-000', 'banyan-shard-001', 'banyan-shard-002'])
  expect(bindings()).toEqual(['SHARD_000', 'SHARD_001', 'SHARD_002'])
})

test('an application that was never deployed gets no shards: what was meant to join has nothing to join', async () => {
  await expect(liveAddress(deployment.deployment(), undefined, undefined)).rejects.toThrow(
    'banyan is not deployed yet.',
  )
})

test('the shards join the application of the configuration, wherever BANYAN_URL leads', async () => {
  await deployed()
  const address = (url?: string, usual?: string) => liveAddress(deployment.deployment(), url, usual)
  expect(await address()).toBe('https://banyan.example')
  expect(await address(undefined, 'http://localhost:8787')).toBe('https://banyan.example')
  expect(await address('https://other.example', 'https://staging.example')).toBe('https://other.example')
  await expect(address(undefined, 'https://staging.example')).rejects.toThrow(
    'BANYAN_URL is https://staging.example, and the configuration’s application is at https://banyan.example.',
  )
})

/** The ids are those of an account, and the calls go to another, which has databases of the same names. */
async function inAnotherAccount(): Promise<string> {
  const token = await deployed()
  writeFileSync(deployment.configPath, text().replace(platform.databases.databases[0]!.id, ID))
  return token
}
const ID = '11111111-2222-4333-8444-555555555555'

test('databases of another account that have the same names are not migrated', async () => {
  await inAnotherAccount()
  await expect(remoteShards(deployment.deployment())).rejects.toThrow(
    `names the database banyan-shard-000 by the id ${ID}`,
  )
})

test('no shard is made in another account', async () => {
  const token = await inAnotherAccount()
  const before = names()
  await expect(addShards(host(token), 1)).rejects.toThrow(`names the database banyan-shard-000 by the id ${ID}`)
  expect(names()).toEqual(before)
})

test('the configuration’s account and the environment’s are the same, or nothing is done', () => {
  writeFileSync(deployment.configPath, `account_id = "another"\n${text()}`)
  expect(() => deployment.deployment()).toThrow('the configuration is of the account another')
  platform.environment.CLOUDFLARE_ACCOUNT_ID = ''
  expect(deployment.deployment().platform.accountId).toBe('another')
})
