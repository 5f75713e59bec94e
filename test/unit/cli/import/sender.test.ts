import { describe, expect, test } from 'vitest'
import type { Importer, ImportOutcome } from '../../../../src/cli/import/noun.ts'
import { Sender } from '../../../../src/cli/import/sender.ts'
import type { Connection } from '../../../../src/cli/shell/client.ts'
import { NotNow, UserError } from '../../../../src/cli/shell/errors.ts'

const unavailable = () => new NotNow('http://localhost:8787 does not answer (ECONNREFUSED).', 'Start it.')
const user = (externalId: string) => ({ externalId })

/** Sends a noun's records. */
const importer: Pick<Importer, 'send' | 'verify'> = {
  send: async (post, source, users) => (await post<{ items: ImportOutcome[] }>('/imports', { source, users })).items,
  verify: () => Promise.reject(new Error('nothing is verified')),
}

/** A server with these answers in order, which repeats the last one. Each takes `answerMs`. */
function stand(answers: ((users: string[]) => object)[], answerMs = 0) {
  let now = 0
  const asked: string[][] = []
  const said: string[] = []
  const connection: Connection = {
    url: 'http://localhost:8787',
    get: () => Promise.reject(new Error('nothing is read')),
    patch: () => Promise.reject(new Error('nothing is changed')),
    delete: () => Promise.reject(new Error('nothing is deleted')),
    post: async <T>(_path: string, body?: object) => {
      const users = (body as { users: { externalId: string }[] }).users.map(({ externalId }) => externalId)
      asked.push(users)
      now += answerMs
      return (answers.length > 1 ? answers.shift()! : answers[0]!)(users) as T
    },
  }
  const timer = {
    now: () => now,
    sleep: async (ms: number) => {
      now += ms
    },
  }
  return {
    sender: new Sender(importer, connection, (text) => said.push(text), timer),
    asked,
    said,
    elapsedMs: () => now,
  }
}

const allAre = (outcome: ImportOutcome['outcome'], code?: string) => (users: string[]) => ({
  items: users.map((externalId) => ({ externalId, outcome, ...(code ? { code } : {}) })),
})
const fails = (error: Error) => () => {
  throw error
}

describe('an unavailable server', () => {
  test('is retried, and both its failure and its return are reported once', async () => {
    const { sender, asked, said } = stand([fails(unavailable()), fails(unavailable()), allAre('imported')])
    const items = await sender.importRecords('old', [user('1')])
    expect(items.map(({ outcome }) => outcome)).toEqual(['imported'])
    expect(asked).toEqual([['1'], ['1'], ['1']])
    expect(said).toEqual([
      'http://localhost:8787 does not answer (ECONNREFUSED). Retrying for 30 s.',
      'The server answers again.',
    ])
  })

  test('is retried for 30 s, and then the error says how to resume', async () => {
    const { sender, elapsedMs } = stand([fails(unavailable())])
    const error = await sender.importRecords('old', [user('1')]).catch((thrown: UserError) => thrown)
    expect(error).toBeInstanceOf(UserError)
    expect(error).toMatchObject({ fix: expect.stringContaining('run the same command again') })
    expect(error).not.toBeInstanceOf(NotNow)
    expect(elapsedMs()).toBeGreaterThanOrEqual(30_000)
    expect(elapsedMs()).toBeLessThan(35_000)
  })

  test('is not retried after a permanent refusal', async () => {
    const { sender, asked } = stand([fails(new UserError('401', 'Pass the right token.'))])
    await expect(sender.importRecords('old', [user('1')])).rejects.toThrow('401')
    expect(asked).toHaveLength(1)
  })
})

describe('users that are busy', () => {
  test('are sent again without the others, and all outcomes are in order', async () => {
    const mixed = (users: string[]) => ({
      items: users.map((externalId) => allAre(externalId === '2' ? 'busy' : 'imported')([externalId]).items[0]!),
    })
    const { sender, asked } = stand([mixed, allAre('there')])
    const items = await sender.importRecords('old', ['1', '2', '3'].map(user))
    expect(items.map(({ externalId, outcome }) => [externalId, outcome])).toEqual([
      ['1', 'imported'],
      ['2', 'there'],
      ['3', 'imported'],
    ])
    expect(asked).toEqual([['1', '2', '3'], ['2']])
  })

  test('for longer than a reservation lasts end the import, and the error names one of them', async () => {
    const { sender, elapsedMs } = stand([allAre('busy', 'SLOT_FENCED')])
    await expect(sender.importRecords('old', [user('1')])).rejects.toThrow(
      /could not import 1 users for 90 s\. The reason for 1 is SLOT_FENCED/,
    )
    expect(elapsedMs()).toBeGreaterThanOrEqual(90_000)
  })

  test('are sent again as long as each request to slow shards decides some users', async () => {
    const some = (users: string[]) => ({
      items: users.map((externalId, index) =>
        index < 1 ? allAre('imported')([externalId]).items[0]! : allAre('busy', 'TOO_MANY')([externalId]).items[0]!,
      ),
    })
    const { sender, elapsedMs } = stand([some], 20_000)
    const items = await sender.importRecords('old', ['1', '2', '3', '4', '5', '6', '7'].map(user))
    expect(items.every(({ outcome }) => outcome === 'imported')).toBe(true)
    expect(elapsedMs()).toBe(140_000)
  })

  test('because a request has too many users are sent again at once', async () => {
    const some = (users: string[]) => ({
      items: users.map((externalId, index) =>
        index < 1 ? allAre('imported')([externalId]).items[0]! : allAre('busy', 'TOO_MANY')([externalId]).items[0]!,
      ),
    })
    const { sender, asked, elapsedMs } = stand([some])
    await sender.importRecords('old', ['1', '2', '3'].map(user))
    expect([asked.length, elapsedMs()]).toEqual([3, 0])
  })
})
