import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { moveSlots, newNotebook, notesOf, writing } from '../support/notes.ts'
import { WorkerProcess } from '../support/worker-process.ts'

const WRITERS = 8

let folder: string
let server: WorkerProcess
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'banyan-notes-'))
  server = await WorkerProcess.start('npm', (port) => [
    ...['run', 'notes', '--', '--port', String(port), '--persist-to', folder],
  ])
})
afterAll(async () => {
  await server?.stop()
  rmSync(folder, { recursive: true, force: true })
})

test('npm run notes serves two migrated shards; half of all slots move there and back under 8 writers', async () => {
  const { url, said } = server
  expect(said).toContain('Two shards, 8 migrations applied.')
  const token = /Bearer ([\w-]+)/.exec(said)![1]!
  const notebooks: string[] = []
  while (notebooks.length < WRITERS) notebooks.push(await newNotebook(url))
  const writers = notebooks.map((notebook) => writing(url, notebook))

  await moveSlots(url, '0000-7fff', 'shard-001', token)
  await moveSlots(url, '0000-7fff', 'shard-000', token)

  for (const writer of writers) {
    await writer.stop()
    expect(writer.failed).toEqual([])
    expect(writer.taken.length).toBeGreaterThan(20)
    const texts = (await notesOf(url, writer.notebook)).map(({ text }) => text)
    expect(texts.toSorted()).toEqual(writer.taken.toSorted())
  }
})
