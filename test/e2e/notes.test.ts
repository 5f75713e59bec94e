import { afterAll, beforeAll, expect, test } from 'vitest'
import { slotOf } from '../../src/core/ids.ts'
import {
  ask,
  moveSlots,
  type NotesStack,
  newNotebook,
  notesOf,
  shardsOf,
  startNotes,
  writing,
} from '../support/notes.ts'

// Half of the slots of the first of two shards.
const HALF = '0000-3fff'
const isInHalf = (notebook: string) => slotOf(notebook) <= '3fff'

let stack: NotesStack
beforeAll(async () => {
  stack = await startNotes({ LEASE_MS: '300', GRACE_MS: '600', MOVE_SHARE: '1' })
})
afterAll(() => stack?.close())

test('half of a shard’s slots moves to the other shard and back under 8 writers: 0 lost, 0 doubled, 0 failed', async () => {
  const notebooks: string[] = []
  // Two of every eight notebooks are in this half. Half of the writers must be.
  while (notebooks.length < 8) {
    const notebook = await newNotebook(stack.url)
    if (isInHalf(notebook) === notebooks.length < 4) notebooks.push(notebook)
  }
  const writers = notebooks.map((notebook) => writing(stack.url, notebook))
  await expect.poll(() => writers.every(({ taken }) => taken.length >= 5), { timeout: 20_000 }).toBe(true)

  await moveSlots(stack.url, HALF, 'shard-001')
  for (const notebook of notebooks.filter(isInHalf)) expect(await shardsOf(stack, notebook)).toEqual(['SHARD_001'])
  const betweenMoves = writers.map(({ taken }) => taken.length)
  await moveSlots(stack.url, HALF, 'shard-000')
  for (const notebook of notebooks.filter(isInHalf)) expect(await shardsOf(stack, notebook)).toEqual(['SHARD_000'])

  for (const [index, writer] of writers.entries()) {
    await writer.stop()
    expect(writer.failed).toEqual([])
    expect(writer.taken.length).toBeGreaterThan(betweenMoves[index]!)
    const texts = (await notesOf(stack.url, writer.notebook)).map(({ text }) => text)
    expect(texts.toSorted()).toEqual(writer.taken.toSorted())
  }
})

test('operators need a token, and an id that is not a notebook’s is not looked up', async () => {
  const { url } = stack
  await expect(ask(url, 'POST', '/operator/moves', {}, 'somebody')).rejects.toThrow('401')
  await expect(ask(url, 'POST', '/operator/moves', { slots: 'x', target: 'shard-001' })).rejects.toThrow('422')
  await expect(ask(url, 'POST', '/operator/moves', { slots: '0000', target: 'x' })).rejects.toThrow('404')
  await expect(ask(url, 'GET', '/operator/moves/none')).rejects.toThrow('404')
  await expect(ask(url, 'GET', '/notebooks/0000/notes')).rejects.toThrow('404')
  expect(await ask(url, 'POST', '/operator/shards', { binding: 'SHARD_001' })).toMatchObject({
    shard: { id: 'shard-001', state: 'serving' },
  })
})
