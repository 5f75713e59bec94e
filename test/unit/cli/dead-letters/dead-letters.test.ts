import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { command as discard } from '../../../../src/cli/dead-letters/discard.command.ts'
import { command as list } from '../../../../src/cli/dead-letters/list.command.ts'
import { command as redrive } from '../../../../src/cli/dead-letters/redrive.command.ts'
import type { Connection } from '../../../../src/cli/shell/client.ts'
import { confirm } from '../../../../src/cli/shell/confirm.ts'

/** An operators' API that gives these answers, one after another, and the last one again. */
function api(...answers: object[]) {
  const asked: unknown[] = []
  const send = async (...request: unknown[]) => {
    asked.push(request)
    return answers.length > 1 ? answers.shift() : answers[0]
  }
  return { connect: () => ({ get: send, post: send }) as unknown as Connection, asked }
}

const taken = (given: object) => ({ count: 0, tooOld: 0, remaining: false, failed: [], ...given })
const letter = {
  id: '4a01…',
  kind: 'report',
  attempts: 8,
  error: `no answer\n${'x'.repeat(10)}`,
  history: [],
  createdAt: null,
  diedAt: '2026-11-30T20:00:00.000Z',
}

describe('dead-letters list', () => {
  test('shows the letters, with the cursor of the next page', async () => {
    const { connect, asked } = api({ items: [letter], next: 'abc', failed: [] })
    const { text, isFailure } = await list.run(connect, [], { kind: 'a&b', limit: '1' })
    expect(asked).toEqual([['/operator/v1/dead-letters?kind=a%26b&limit=1']])
    expect(text.split('\n')).toEqual([
      'id     kind    died                      attempts  error',
      '4a01…  report  2026-11-30T20:00:00.000Z  8         no answer',
      '',
      'More letters: repeat the command with --cursor abc',
    ])
    expect(isFailure).toBe(false)
  })

  test('shortens errors, and names a shard that did not answer', async () => {
    const { connect } = api({ items: [{ ...letter, error: 'e'.repeat(81) }], next: null, failed: ['shard-001'] })
    const { text, isFailure } = await list.run(connect, [], {})
    expect(text).toContain(`  ${'e'.repeat(79)}…\n`)
    expect(text).toMatch(/did not answer: shard-001\. List them again when they do\.$/)
    expect(isFailure).toBe(true)
  })
})

describe('dead-letters redrive', () => {
  test('repeats the request until no letters remain', async () => {
    const { connect, asked } = api(
      taken({ count: 1_000, remaining: true }),
      taken({ count: 1_000, remaining: true }),
      taken({ count: 7, tooOld: 2 }),
    )
    const { json, text, isFailure } = await redrive.run(connect, [], { kind: 'report' })
    expect(asked).toEqual(Array(3).fill(['/operator/v1/dead-letters/redrive', { ids: undefined, kind: 'report' }]))
    expect(json).toEqual(taken({ count: 2_007, tooOld: 2 }))
    expect(text).toMatch(/^2,007 jobs will run again\.\n2 jobs are older than 29 days and cannot run again\. Check/)
    expect(isFailure).toBe(false)
  })

  test('stops without progress, and names the shards', async () => {
    const { connect, asked } = api(taken({ remaining: true, failed: ['shard-001'] }))
    const { text, isFailure } = await redrive.run(connect, [], { kind: 'report' })
    expect(asked).toHaveLength(1)
    expect(text).toMatch(/^No job runs again\.\nThese shards did not answer, and their letters stay: shard-001\. Run/)
    expect(isFailure).toBe(true)
  })

  test('sends each id once, a hundred at a time', async () => {
    const { connect, asked } = api(taken({ count: 100 }), taken({ count: 1 }))
    const ids = Array.from({ length: 101 }, (_, n) => `id${n}`)
    const { text } = await redrive.run(connect, [...ids, 'id0'], {})
    expect(asked.map((request) => (request as [string, { ids: string[] }])[1].ids.length)).toEqual([100, 1])
    expect(text).toBe('101 jobs will run again.')
  })

  test('fails if no letter has the id', async () => {
    const { text, isFailure } = await redrive.run(api(taken({})).connect, ['id'], {})
    expect([text, isFailure]).toEqual(['No job runs again.', true])
  })
})

test.each([redrive, discard])('$name needs ids or a kind', async (command) => {
  const { connect, asked } = api(taken({}))
  await expect(command.run(connect, [], { kind: undefined })).rejects.toMatchObject({
    message: `${command.name} needs ids or a kind.`,
    fix: expect.stringContaining(`npm run banyan -- ${command.name} --kind `),
  })
  expect(asked).toEqual([])
})

describe('dead-letters discard', () => {
  const { isTTY } = process.stdin
  beforeEach(() => {
    process.stdin.isTTY = false
  })
  afterEach(() => {
    process.stdin.isTTY = isTTY
  })

  test('discards with --yes, and refuses without a terminal that could confirm', async () => {
    const { connect, asked } = api(taken({ count: 1 }))
    await expect(discard.run(connect, ['id'], {})).rejects.toMatchObject({ fix: expect.stringContaining('--yes') })
    expect(asked).toEqual([])
    expect((await discard.run(connect, ['id'], { yes: true })).text).toBe('1 dead letter discarded.')
    expect(asked).toEqual([['/operator/v1/dead-letters/discard', { ids: ['id'], kind: undefined }]])
  })

  test.each([
    ['yes\n', true],
    ['YES \n', true],
    ['y\n', false],
    ['\n', false],
  ])('the answer %j is a confirmation: %j', async (answer, isConfirmed) => {
    const input = Object.assign(new PassThrough(), { isTTY: true })
    const output = new PassThrough()
    const asking = confirm('1 dead letter will be discarded.', { input, output })
    input.write(answer)
    if (isConfirmed) await asking
    else await expect(asking).rejects.toMatchObject({ message: 'Nothing was changed.' })
    expect(String(output.read())).toContain('1 dead letter will be discarded. Type yes to continue: ')
  })
})
