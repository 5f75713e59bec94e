import { expect, test } from 'vitest'
import { followBackfill } from '../../../../src/cli/backfill/follow-backfill.ts'
import { command as list } from '../../../../src/cli/backfill/list.command.ts'
import { command as run } from '../../../../src/cli/backfill/run.command.ts'
import { command as status } from '../../../../src/cli/backfill/status.command.ts'
import { command as stop } from '../../../../src/cli/backfill/stop.command.ts'
import type { Connection } from '../../../../src/cli/shell/client.ts'
import { NotNow } from '../../../../src/cli/shell/errors.ts'
import type { Backfill } from '../../../../src/console/shapes.ts'

const backfill = (state: Backfill['state'], progress: number): Backfill => ({
  name: 'names',
  table: 'profiles',
  state,
  progress,
})

/** An operators' API with one backfill. `asked` has the requests. */
function api(answer: Backfill) {
  const asked: unknown[] = []
  const send = async (...request: unknown[]) => {
    asked.push(request)
    return answer
  }
  const get = async () => ({ items: [answer] })
  return { connect: () => ({ get, post: send, patch: send }) as unknown as Connection, asked }
}

test('run starts the backfill and says how it ended', async () => {
  const { connect, asked } = api(backfill('done', 1))
  const ended = await run.run(connect, ['names'], {})
  expect(asked).toEqual([['/operator/v1/backfills/names']])
  expect(ended).toMatchObject({ text: 'names is done: every row of profiles was visited.', isFailure: false })
  expect(ended.json).toEqual(backfill('done', 1))
  const failed = await run.run(api(backfill('dead', 0.5)).connect, ['names'], {})
  expect(failed).toMatchObject({ text: expect.stringContaining('failed at 50%'), isFailure: true })
  const left = await run.run(api(backfill('waiting', 0)).connect, ['names'], { 'no-wait': true })
  expect(left.text).toBe('names: waiting. See: npm run banyan -- backfill status names')
})

test('stop pauses it, and says if it does not run', async () => {
  const { connect, asked } = api(backfill('paused', 0.429))
  const { text } = await stop.run(connect, ['names'], {})
  expect(asked).toEqual([['/operator/v1/backfills/names', { paused: true }]])
  expect(text).toBe('names is paused at 42%. To resume it: npm run banyan -- backfill run names')
  const done = await stop.run(api(backfill('done', 1)).connect, ['names'], {})
  expect(done.text).toBe('names does not run. Its state is done.')
})

test('status shows one backfill, and list shows all', async () => {
  const { connect } = api(backfill('running', 0.5))
  expect((await status.run(connect, ['names'], {})).text).toBe('names  ████████████░░░░░░░░░░░░  50%  running')
  expect((await list.run(connect, [], {})).text).toBe('name   table     state    done\nnames  profiles  running   50%')
  await expect(status.run(connect, ['other'], {})).rejects.toMatchObject({
    message: 'There is no backfill "other".',
    fix: 'This version has: names. A noun registers a backfill.',
  })
})

/** Follows a backfill through these readings; errors are thrown. */
async function follow(readings: (Backfill | Error)[], isTTY = false) {
  const written: string[] = []
  let now = 0
  const read = async () => {
    const next = (readings.length > 1 ? readings.shift() : readings[0])!
    if (next instanceof Error) throw next
    return next
  }
  const sleep = async (ms: number) => {
    now += ms
  }
  const ended = followBackfill(backfill('waiting', 0), {
    read,
    screen: { isTTY, write: (text) => written.push(text) },
    timer: { now: () => now, sleep },
  })
  return { ended: await ended.catch((error: Error) => error), written }
}

test('it follows until the backfill is over, and prints a line for each change', async () => {
  const half = backfill('running', 0.5)
  const { ended, written } = await follow([half, half, new NotNow('No answer.', 'Start it.'), backfill('done', 1)])
  expect(ended).toEqual(backfill('done', 1))
  expect(written.map((line) => line.replace(/[█░]+/, 'bar'))).toEqual([
    'names  bar   0%  waiting\n',
    'names  bar  50%  running\n',
    'names  bar 100%  done\n',
  ])
})

test('on a terminal it redraws one line', async () => {
  const { written } = await follow([backfill('paused', 0.25)], true)
  expect(written).toHaveLength(3)
  expect(written[0]).toBe('Ctrl-C stops watching; the backfill continues.\n')
  expect(written[2]).toContain('\u001b[1A\u001b[0J')
})

test('it stops watching a server that is unavailable for 30 s', async () => {
  const { ended } = await follow([new NotNow('No answer.', 'Start it.')])
  expect(ended).toMatchObject({
    message: 'No answer. The command stops watching; the backfill continues.',
    fix: 'Start it.\nTo watch again: npm run banyan -- backfill run names',
  })
})
