import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { openDeployment } from '../../../../src/cli/deploy/deployment.ts'
import { command as applyMigrations } from '../../../../src/cli/migrations/apply.command.ts'
import { command as migrationsStatus } from '../../../../src/cli/migrations/status.command.ts'
import { command as addShards } from '../../../../src/cli/shards/add.command.ts'
import { command as listShards } from '../../../../src/cli/shards/list.command.ts'
import { command as removeShard } from '../../../../src/cli/shards/remove.command.ts'
import type { Connection } from '../../../../src/cli/shell/client.ts'
import { localConfig } from '../../../../src/cli/wrangler/local-options.ts'

const answering = (answer: object) => () => ({ get: async () => answer }) as unknown as Connection

test('a shard that does not answer is listed and named as not counted', async () => {
  const shard = { binding: 'SHARD_000', state: 'serving', slots: 32_768, queriesPerSecond: 1 }
  const items = [
    { ...shard, id: 'shard-000', users: 7, bytes: 2_080_768 },
    { ...shard, id: 'shard-001', users: null, bytes: null },
  ]
  const { text } = await listShards.run(answering({ epoch: 3, items }), [], {})
  expect(text.split('\n')).toEqual([
    'shard      binding    state    slots  users    size  queries/s',
    'shard-000  SHARD_000  serving  32768      7  2.1 MB       1.00',
    'shard-001  SHARD_000  serving  32768      –       –       1.00',
    '',
    'epoch 3, 2 shards, 7 users, the fullest shard has 1.00 times the mean; not counted, because they do not answer: shard-001',
  ])
})

test('an estimated number of users is marked as estimated', async () => {
  const shard = { binding: 'SHARD_000', state: 'serving', slots: 32_768, queriesPerSecond: 1, bytes: 2_080_768 }
  const items = [
    { ...shard, id: 'shard-000', users: 250_000, usersEstimated: true },
    { ...shard, id: 'shard-001', users: 1_500, usersEstimated: false },
  ]
  const { text } = await listShards.run(answering({ epoch: 3, items }), [], {})
  expect(text.split('\n')).toEqual([
    'shard      binding    state    slots  users (estimated)    size  queries/s',
    'shard-000  SHARD_000  serving  32768             250000  2.1 MB       1.00',
    'shard-001  SHARD_000  serving  32768               1500  2.1 MB       1.00',
    '',
    'epoch 3, 2 shards, 251,500 users (estimated), the fullest shard has 1.99 times the mean',
  ])
})

test('a missing configuration is refused before the shard is removed', async () => {
  const asked: string[] = []
  const connection = {
    get: async () => ({ items: [{ id: 'shard-001', binding: 'SHARD_001' }] }),
    delete: async (path: string) => void asked.push(path),
  }
  const remove = (config?: string) =>
    removeShard.run(() => connection as unknown as Connection, ['shard-001'], { config })
  await expect(remove('nowhere.toml')).rejects.toThrow('nowhere.toml')
  expect(asked).toEqual([])
  await remove()
  expect(asked).toEqual(['/operator/v1/shards/shard-001'])
})

const remotely = [
  ['migrations status', migrationsStatus.run, { remote: true }],
  ['migrations apply', applyMigrations.run, { remote: true }],
  ['shards add', addShards.run, { remote: true }],
  ['shards add', addShards.run, { url: 'https://banyan.example' }],
] as const

test.each(remotely)('%s of deployed databases refuses options of local ones', async (_, run, options) => {
  const noConnection = () => expect.fail('it must be refused before any request')
  for (const [option, local] of Object.entries({ 'persist-to': '.', shards: '4' }))
    await expect(run(noConnection, [], { ...options, [option]: local })).rejects.toThrow(
      `--${option} selects local databases, but this command uses the deployed ones.`,
    )
})

afterEach(() => vi.restoreAllMocks())

test('--config is relative to the working directory in every command', () => {
  vi.spyOn(process, 'cwd').mockReturnValue(tmpdir())
  const config = 'wrangler.other.toml'
  const message = `There is no ${path.join(tmpdir(), config)}.`
  expect(() => localConfig({ config })).toThrow(message)
  expect(() => openDeployment({ config, environment: {}, sleep: async () => {}, say: () => {} })).toThrow(message)
})
