import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import path from 'node:path'
import { expect, test } from 'vitest'
import { type Backfill, changeChunk } from '../../../src/jobs/backfill-chunk.ts'
import { manyShards } from '../../support/many-shards.ts'
import { fencedBlocks } from '../../support/markdown.ts'
import { routedShards, ScriptedSource } from '../../support/sharding-doubles.ts'

test('the backfill in docs/building/backfills.md fills old rows, and leaves rows of a newer version as they are', async () => {
  const page = readFileSync(path.resolve(import.meta.dirname, '../../../docs/building/backfills.md'), 'utf8')
  const [block] = fencedBlocks(page).filter(({ info }) => info.startsWith('ts '))
  const module = `data:text/javascript,${encodeURIComponent(stripTypeScriptTypes(block!.text))}`
  const { searchNames } = (await import(/* @vite-ignore */ module)) as { searchNames: Backfill }
  const { databases, sqlite, wire } = manyShards(1)
  const insert = sqlite[0]!.prepare(
    `INSERT INTO profiles (id, handle, display_name, bio, created_at, version, search_name) VALUES (?, '', ?, '', 0, 1, ?)`,
  )
  insert.run('00aa01m86bdq17b2dcgbhgmc4rp9mp', 'Old Ada', null)
  insert.run('00ab01m86bdq17b2dcgbhgmc4rp9mp', 'New Ada', 'new')
  const { shards } = routedShards({ databases, source: new ScriptedSource(() => wire(1_000_000)) })
  const range = { after: '0000', last: '00ff' }
  expect(await changeChunk(shards, searchNames, range, 100)).toEqual({ after: null, isFull: false })
  const names = () => sqlite[0]!.prepare('SELECT search_name AS name FROM profiles ORDER BY id').all()
  expect(names()).toMatchObject([{ name: 'old ada' }, { name: 'new' }])
  await changeChunk(shards, searchNames, range, 100)
  expect(names()).toMatchObject([{ name: 'old ada' }, { name: 'new' }])
})
