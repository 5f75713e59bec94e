import { readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { operator } from '../../src/app/accounts/restore.operator.ts'
import { openPlatform } from '../../src/cli/platform/api.ts'
import { type ClaimDifference, claimDifferences } from '../../src/cli/restore/claim-differences.ts'
import { restoredBy } from '../../src/cli/restore/noun.ts'
import { shardBindings } from '../../src/cli/wrangler/shard-bindings.ts'
import { bearer } from '../support/http-client.ts'
import { type CliOnDouble, cliOn } from '../support/platform/cli-run.ts'
import { type PlatformDouble, startPlatform } from '../support/platform/double.ts'

let platform: PlatformDouble
let cli: CliOnDouble
/** The output of the first deployment. */
let deployed = ''

beforeAll(async () => {
  platform = await startPlatform({ serving: 'runtime' })
  cli = cliOn(platform, 'e2e')
})

afterAll(async () => {
  cli.close()
  await platform.close()
})

test('from nothing to serving with the real wrangler; the second run changes nothing', async () => {
  const first = await cli.run('deploy')
  expect(first.stderr).toMatch(/✓ smoke test .* 2 of 2 shards in the map/)
  expect(first.exitCode).toBe(0)
  deployed = first.stdout
  const token = /The operators’ token: (\S+)/.exec(first.stdout)![1]!
  expect(platform.calls.filter(({ status }) => status === 501)).toEqual([])

  const member = bearer(new URL(platform.siteUrl))
  const account = { email: 'ada@example.com', handle: 'ada', password: 'a long enough password' }
  expect((await member.post('/api/v1/accounts', account)).status).toBe(201)

  await expectClaimsFit()
  const after = {
    state: await platform.snapshot(),
    config: readFileSync(cli.configPath, 'utf8'),
    calls: platform.calls.length,
  }
  const second = await cli.run('deploy', '--token', token)
  expect(second.stdout).toContain('nothing was changed')
  expect({ state: await platform.snapshot(), config: readFileSync(cli.configPath, 'utf8') }).toEqual({
    state: after.state,
    config: after.config,
  })
  const mutating = platform.calls
    .slice(after.calls)
    .filter(({ method, path }) => method !== 'GET' && !path.endsWith('/query'))
  expect(mutating).toEqual([])
})

test('one more shard: its database is created, migrated, bound and deployed, and the shard is added', async () => {
  const token = /The operators’ token: (\S+)/.exec(deployed)![1]!
  const added = await cli.run('shards', 'add', '--remote', '--location', 'weur', '--token', token)
  expect(added.exitCode, added.stderr).toBe(0)
  expect(added.stderr).toMatch(/SHARD_002 is now shard-002, without slots\.$/m)
  expect(shardBindings(readFileSync(cli.configPath, 'utf8')).map(({ databaseName }) => databaseName)).toEqual([
    'banyan-shard-000',
    'banyan-shard-001',
    'banyan-shard-002',
  ])
  const made = platform.databases.databases.at(-1)!
  expect(made).toMatchObject({ name: 'banyan-shard-002', locationHint: 'weur' })
  const status = await cli.run('migrations', 'status', '--remote')
  expect(status.stdout).toContain('3 shards, all with the newest migration.')
  const headers = { authorization: `Bearer ${token}` }
  const listed = await bearer(new URL(platform.siteUrl)).get('/operator/v1/shards', { headers })
  expect(listed.json()).toMatchObject({ items: [{ slots: 32_768 }, { slots: 32_768 }, { slots: 0 }] })
})

test('replicas: they are enabled, the application is deployed with REPLICAS=on, and the status compares both', async () => {
  const token = /The operators’ token: (\S+)/.exec(deployed)![1]!
  const enabled = await cli.run('replicas', 'enable', '--remote')
  expect(enabled.exitCode, enabled.stderr).toBe(0)
  expect(enabled.stderr).toContain('SHARD_002  enabled')
  expect(platform.databases.databases.map(({ replication }) => replication)).toEqual(['auto', 'auto', 'auto'])

  const status = async () => {
    const { stdout, stderr } = await cli.run('replicas', 'status', '--remote', '--json', '--token', token)
    expect(stderr).toBe('')
    return JSON.parse(stdout) as { replicas: string; agrees: boolean; items: object[] }
  }
  expect(await status()).toMatchObject({ replicas: 'off', agrees: false })
  const text = readFileSync(cli.configPath, 'utf8')
  writeFileSync(cli.configPath, text.replace(/^REPLICAS = .*$/m, 'REPLICAS = "on"'))
  expect((await cli.run('deploy', '--token', token)).exitCode).toBe(0)
  // The runtime's databases have no replicas, so their primaries answer.
  const members = [{ isPrimary: true, reads: 4 }]
  expect(await status()).toMatchObject({
    replicas: 'on',
    agrees: true,
    items: [{ members }, { members }, { members, region: 'WEUR' }],
  })

  const member = bearer(new URL(platform.siteUrl))
  const account = { email: 'grace@example.com', handle: 'grace', password: 'a long enough password' }
  expect((await member.post('/api/v1/accounts', account)).status).toBe(201)
  expect((await member.get('/api/v1/users/grace')).status).toBe(200)
})

/**
 * Expects the claims that `restore` compares to be those that the application writes: both claims of a user match, and
 * a missing one is reported.
 */
async function expectClaimsFit(): Promise<void> {
  const {
    CLOUDFLARE_API_BASE_URL: baseUrl,
    CLOUDFLARE_API_TOKEN: token,
    CLOUDFLARE_ACCOUNT_ID: accountId,
  } = platform.environment
  const api = openPlatform({ baseUrl, token, accountId })
  const { databases } = platform.databases
  const ids = databases.map(({ id }) => id)
  const sleep = async () => undefined
  const { holders } = restoredBy([operator])
  const differences = async () => {
    const found: ClaimDifference[] = []
    for (const restoredId of ids)
      for await (const page of claimDifferences({ platform: api, holders, databaseIds: ids, restoredId, sleep }))
        found.push(...page)
    return found
  }
  expect(await differences()).toEqual([])
  await Promise.all(databases.map((database) => database.query([{ sql: "DELETE FROM claims WHERE kind = 'handle'" }])))
  const unclaimed = await differences()
  expect(new Set(unclaimed.map(({ lacks }) => lacks))).toEqual(new Set(['claim']))
  expect(new Set(unclaimed.map(({ kind }) => kind))).toEqual(new Set(['handle']))
}
