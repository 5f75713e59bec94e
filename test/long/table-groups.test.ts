import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ownEnvironment, TreeCopy } from '../../scripts/tree-copy.ts'
import { examples } from '../support/building-page.ts'
import { WorkerProcess } from '../support/worker-process.ts'

// The steps of docs/building/table-groups.md, in a copy of the project that has users before it gets the table group.

const USERS = 6
const STORIES_MIN = 5

const { name, line, files, keyspaces } = examples.tableGroup()

let copy: TreeCopy
let state: string
let server: WorkerProcess
beforeAll(() => {
  copy = new TreeCopy('table-groups')
  state = mkdtempSync(path.join(tmpdir(), 'banyan-table-groups-'))
})
afterAll(async () => {
  await server?.stop()
  for (const folder of [copy?.folder, state]) if (folder) rmSync(folder, { recursive: true, force: true })
})

async function serve(): Promise<void> {
  server = await WorkerProcess.start(
    'npm',
    (port) => ['run', 'dev', '--', '--port', String(port), '--persist-to', state],
    copy.folder,
  )
}

async function banyan<T>(...args: string[]): Promise<T> {
  const command = ['src/cli/main.ts', ...args, '--url', server.url.origin, '--json']
  const options = { cwd: copy.folder, env: ownEnvironment() }
  return JSON.parse((await promisify(execFile)(process.execPath, command, options)).stdout) as T
}

const send = (method: string, route: string, token = '', json?: object) =>
  fetch(new URL(`/api/v1${route}`, server.url), {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(json ? { body: JSON.stringify(json) } : {}),
  })

async function signUp(number: number): Promise<string> {
  const account = { email: `writer${number}@example.com`, handle: `writer_${number}`, password: 'ten letters' }
  const answer = await send('POST', '/accounts', '', account)
  expect(answer.status).toBe(201)
  return ((await answer.json()) as { token: string }).token
}

const storyOf = (writer: number, number: number) => `Story ${number} of ${writer}. ${'It is long. '.repeat(500)}`

/** Writes one story after another, and reads each back. */
function writing(token: string, writer: number) {
  const result = { acknowledged: 0, failures: [] as string[] }
  let isStopped = false
  const run = async () => {
    while (!isStopped) {
      const text = storyOf(writer, result.acknowledged + 1)
      const written = await send('PUT', '/me/biography', token, { text })
      if (written.status === 204) result.acknowledged++
      else result.failures.push(`${written.status} ${await written.text()}`)
      const read = await send('GET', '/me/biography', token)
      const met = read.status === 200 ? ((await read.json()) as { text: string }).text : `status ${read.status}`
      if (met !== storyOf(writer, result.acknowledged)) result.failures.push(`read ${met.slice(0, 30)}`)
    }
  }
  const ended = run()
  return {
    result,
    async stop() {
      isStopped = true
      await ended
      return result
    },
  }
}

interface Listed {
  name: string
  tables: string[]
  shards: { id: string; slots: number }[]
  placement: string | null
}

const group = async () =>
  (await banyan<{ items: Listed[] }>('keyspaces', 'list')).items.find((one) => one.name === 'archives')

test('a running application gets a table group, its rows move to a shard of its own under load, and none is lost', {
  timeout: 15 * 60_000,
}, async () => {
  await serve()
  const tokens: string[] = []
  while (tokens.length < USERS) tokens.push(await signUp(tokens.length))
  expect(await group()).toBeUndefined()
  await server.stop()

  copy.edit('src/sharding/sharded-table.ts', (lines) =>
    lines.map((one) => (one.startsWith('export const keyspaces = ') ? keyspaces : one)),
  )
  copy.write(files)
  copy.addNoun(line)
  copy.npm('run', 'migrations:generate', '--', '--name', 'archives')

  await serve()
  for (const [writer, token] of tokens.entries())
    expect((await send('PUT', '/me/biography', token, { text: storyOf(writer, 0) })).status).toBe(204)
  const halves = [
    { id: 'shard-000', slots: 32_768 },
    { id: 'shard-001', slots: 32_768 },
  ]
  await expect.poll(group, { timeout: 30_000 }).toEqual({
    name: 'archives',
    tables: ['archived_biographies', 'archives_inbox'],
    shards: halves,
    placement: null,
  })

  await banyan('shards', 'add', '--count', '1', '--persist-to', state)
  const writers = tokens.map(writing)
  const placed = await banyan<{ moves: { source: string; state: string }[] }>(
    ...['keyspaces', 'place', 'archives', '--on', 'SHARD_002', '--until', 'done'],
  )
  const results = await Promise.all(writers.map((writer) => writer.stop()))
  expect(placed.moves.map(({ source, state }) => [source, state]).toSorted()).toEqual([
    ['shard-000', 'done'],
    ['shard-001', 'done'],
  ])
  expect(results.flatMap(({ failures }) => failures)).toEqual([])
  expect(Math.min(...results.map(({ acknowledged }) => acknowledged))).toBeGreaterThan(STORIES_MIN)
  expect(await group()).toMatchObject({ shards: [{ id: 'shard-002', slots: 65_536 }], placement: 'shard-002' })
  for (const [writer, token] of tokens.entries()) {
    const read = await send('GET', '/me/biography', token)
    expect(await read.json()).toEqual({ text: storyOf(writer, results[writer]!.acknowledged) })
  }
  const shards = (await banyan<{ items: { id: string; slots: number }[] }>('shards', 'list')).items
  expect(shards.map(({ slots }) => slots)).toEqual([32_768, 32_768, 0])
  await server.stop()

  // `shards add` has bound a third shard there, and the tests expect two.
  copy.git('checkout', '--', 'wrangler.toml')
  copy.npm('run', 'check')
  const unit = ['test/unit/jobs', 'test/unit/app/nouns.test.ts', 'test/unit/resharding/fleet.test.ts']
  copy.npm('exec', 'vitest', 'run', '--', '--project', 'unit', ...unit)
  const workerd = [`test/workerd/${name}`, 'test/workerd/calls', 'test/workerd/console/keyspaces.test.ts']
  copy.npm('exec', 'vitest', 'run', '--', '--project', 'workerd', ...workerd)
})
