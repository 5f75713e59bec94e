import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openPlatform } from '../../src/cli/platform/api.ts'
import { bookmarkAt } from '../../src/cli/platform/time-travel.ts'
import { root } from '../../src/cli/shell/root.ts'
import { slotOf } from '../../src/core/ids.ts'
import { bearer } from '../support/http-client.ts'
import { type CliOnDouble, cliOn } from '../support/platform/cli-run.ts'
import { type PlatformDouble, startPlatform } from '../support/platform/double.ts'

const NAME = `banyan-restored-${process.pid}`

let platform: PlatformDouble
let cli: CliOnDouble

beforeAll(async () => {
  platform = await startPlatform({ serving: 'runtime' })
  cli = cliOn(platform, 'restore')
  const config = readFileSync(cli.configPath, 'utf8')
  writeFileSync(
    cli.configPath,
    config.replace('name = "banyan"', `name = "${NAME}"`).replace('LEASE_MS = "30000"', 'LEASE_MS = "500"'),
  )
})

afterAll(async () => {
  cli.close()
  await platform.close()
  for (const shard of ['shard-000', 'shard-001'])
    for (const name of ['accounts', 'claims'])
      rmSync(path.join(root, `.wrangler/deploy/${NAME}-${shard}.restore.${name}.jsonl`), { force: true })
})

/** Time Travel of the double goes back to moments that were marked: the Worker's writes do not pass by the API. */
async function mark(): Promise<string> {
  const {
    CLOUDFLARE_API_BASE_URL: baseUrl,
    CLOUDFLARE_API_TOKEN: token,
    CLOUDFLARE_ACCOUNT_ID: accountId,
  } = platform.environment
  const api = openPlatform({ baseUrl, token, accountId })
  for (const { id } of platform.databases.databases) await bookmarkAt(api, id)
  const now = new Date().toISOString()
  await new Promise((resolve) => setTimeout(resolve, 10))
  return now
}

test('a deployed application: after a restore, a session that was ended is refused, and an account whose password went back is listed', async () => {
  const deployed = await cli.run('deploy')
  expect(deployed.stderr).toMatch(/✓ probe {10}2 databases refused as expected in \d+ cases, and nothing was written/)
  const token = /The operators’ token: (\S+)/.exec(deployed.stdout)![1]!
  const url = new URL(platform.siteUrl)
  const [owner, thief, later] = [bearer(url), bearer(url), bearer(url)]
  const [stolen, next] = ['a pass phrase that was stolen', 'a pass phrase that nobody has']
  const signedUp = await owner.post('/api/v1/accounts', { email: 'ada@example.com', handle: 'ada', password: stolen })
  const { user, token: ownToken } = signedUp.json<{ user: { id: string }; token: string }>()
  owner.token = ownToken
  const logIn = (client: typeof thief, password: string) => client.post('/api/v1/sessions', { login: 'ada', password })
  thief.token = (await logIn(thief, stolen)).json<{ token: string }>().token
  const write = (client: typeof thief, bio: string) => client.request('PATCH', '/api/v1/me', { json: { bio } })
  expect((await write(thief, 'I am in.')).status).toBe(200)

  const to = await mark()
  const put = await owner.request('PUT', '/api/v1/me/password', { json: { current: stolen, next } })
  expect(put.status).toBe(204)
  expect((await write(thief, 'Still in?')).status).toBe(401)

  const shard = slotOf(user.id) < '8000' ? 'shard-000' : 'shard-001'
  const restored = await cli.run('restore', shard, '--to', to, '--token', token, '--json')
  expect(restored.exitCode, restored.stderr).toBe(0)
  const json = JSON.parse(restored.stdout) as { accounts: { file: string } }
  expect(json).toMatchObject({ sessionsDeleted: 2, accounts: { password: 1, email: 0, created: 0, deleted: 0 } })
  expect(JSON.parse(readFileSync(json.accounts.file, 'utf8'))).toEqual({
    accountId: user.id,
    changes: ['password'],
    passwordVersion: 2,
  })

  // It is as it was: the old password opens it, and that is why it is listed.
  expect((await logIn(later, next)).status).toBe(401)
  for (const client of [thief, owner]) expect((await write(client, 'Once more?')).status).toBe(401)
  expect((await logIn(later, stolen)).status).toBe(201)
})
