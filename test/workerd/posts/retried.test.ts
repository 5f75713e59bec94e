import { beforeEach, describe, expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { createPost, deletePost, editPost } from '../../../src/app/posts/posts.ts'
import { BanyanError } from '../../../src/core/errors.ts'
import type { Session } from '../../../src/sessions/sessions.ts'
import { member } from '../../support/members.ts'
import { emptyShards, everything, rows } from '../../support/shard-rows.ts'
import { type TestIsolate, World } from '../../support/tiers.ts'

const DAY = 86_400_000

beforeEach(emptyShards)

const publish = ({ tiers }: TestIsolate, session: Session, text = 'a post', key = 'key') =>
  createPost(tiers, session, text, { key, request: `POST /api/v1/posts\n${text}` }).catch((error) => {
    if (error instanceof BanyanError) return error.code
    throw error
  })

async function setUp() {
  const world = new World()
  const { session } = await member(world)
  return { world, session, isolate: world.isolate() }
}

describe('a post with an Idempotency-Key', () => {
  test('is published once, and every retry gets the first answer, even after an edit or deletion', async () => {
    const { world, session, isolate } = await setUp()
    const first = await publish(isolate, session)
    if (typeof first === 'string') throw new Error(first)
    world.clock.advance(1_000)
    expect(await publish(world.isolate(), session)).toEqual(first)
    await editPost(isolate.tiers, session, first.id, 'edited')
    expect(await publish(world.isolate(), session)).toEqual(first)
    await deletePost(isolate.tiers, session, first.id)
    expect(await publish(world.isolate(), session)).toEqual(first)
    expect(await rows('posts')).toEqual([])
  })

  test('five concurrent requests with one key: one post, one answer', async () => {
    const { world, session } = await setUp()
    const answers = await Promise.all(Array.from({ length: 5 }, () => publish(world.isolate(), session)))
    expect(answers).toEqual(Array(5).fill(answers[0]))
    expect((await rows('posts')).map(({ text }) => text)).toEqual(['a post'])
  })

  test('without an answer exists once after a retry', async () => {
    const { world, session, isolate } = await setUp()
    isolate.loseAnswerOf('posts.create')
    expect(await publish(isolate, session)).toBe('OUTCOME_UNKNOWN')
    const [kept] = await rows('posts')
    expect(await publish(world.isolate(), session)).toMatchObject({ id: kept!.id, text: 'a post', version: 1 })
    expect(await rows('posts')).toEqual([kept])
  })

  test('with another text is refused, and changes nothing', async () => {
    const { world, session, isolate } = await setUp()
    await publish(isolate, session)
    const before = await everything()
    expect(await publish(world.isolate(), session, 'another')).toBe('IDEMPOTENCY_KEY_REUSED')
    expect(await everything()).toEqual(before)
  })

  test('of another user, under the same key, is a separate post', async () => {
    const { world, session, isolate } = await setUp()
    const eve = await member(world)
    await publish(isolate, session)
    await publish(isolate, eve.session, 'Eve’s')
    expect((await rows('posts')).map(({ author_id, text }) => [author_id, text]).toSorted()).toEqual(
      [
        [session.userId, 'a post'],
        [eve.userId, 'Eve’s'],
      ].toSorted(),
    )
  })

  test.each([
    ['24 h less a millisecond', DAY - 1, 1],
    ['24 h', DAY, 2],
  ])('%s later: total number of posts', async (_name, ms, count) => {
    const { world, session, isolate } = await setUp()
    await publish(isolate, session)
    world.clock.advance(ms)
    await publish(world.isolate(), session)
    expect(await rows('posts')).toHaveLength(count)
    expect(await rows('idempotency_keys')).toHaveLength(1)
  })

  test('in a batch that fails keeps no answer', async () => {
    const { world, session, isolate } = await setUp()
    isolate.failAt('posts.create', new Error('D1_ERROR: string or blob too big: SQLITE_TOOBIG'))
    expect(await publish(isolate, session)).toBe('DATABASE_ERROR')
    expect(await rows('idempotency_keys')).toEqual([])
    expect(await publish(world.isolate(), session)).toMatchObject({ text: 'a post' })
  })
})
