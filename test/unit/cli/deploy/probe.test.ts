import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { command as probeCommand } from '../../../../src/cli/deploy/probe.command.ts'
import { type ProbeReport, probe, probeCheck } from '../../../../src/cli/deploy/probe.ts'
import type { StepOutcome } from '../../../../src/cli/deploy/steps.ts'
import { UserError } from '../../../../src/cli/shell/errors.ts'
import { type PlatformDouble, startPlatform } from '../../../support/platform/double.ts'
import { type SmallDeployment, smallDeployment } from '../../../support/platform/small-deployment.ts'

type ProbeItem = ProbeReport['items'][number]

const item = (binding: string, more: Partial<ProbeItem> = {}): ProbeItem => ({
  binding,
  case: 'guard, fenced slot',
  expected: 'SLOT_FENCED',
  met: 'SLOT_FENCED',
  text: 'D1_ERROR: SLOT_FENCED',
  ok: true,
  ...more,
})

/** An application that answers with these pages. */
function answering(...pages: { items: ProbeItem[]; leftOut?: string[]; next: string | null }[]) {
  const asked: (object | undefined)[] = []
  const post = async (_: string, body?: object) => {
    asked.push(body)
    return { leftOut: [], ...pages[asked.length - 1] } as never
  }
  return { asked, connection: { post } }
}

const command = (connection: object) => probeCommand.run(() => connection as never, [], {})

describe('banyan probe', () => {
  test('reads all pages', async () => {
    const { asked, connection } = answering(
      { items: [item('SHARD_000')], next: 'SHARD_000' },
      { items: [item('SHARD_002')], leftOut: ['SHARD_001'], next: null },
    )
    const report = await probe(connection)
    expect(asked).toEqual([{}, { after: 'SHARD_000' }])
    expect(report).toEqual({ items: [item('SHARD_000'), item('SHARD_002')], leftOut: ['SHARD_001'] })
  })

  test('ends with 0 if all probes pass, and names the skipped shards', async () => {
    const { connection } = answering({ items: [item('SHARD_000')], leftOut: ['SHARD_001'], next: null })
    const { text, isFailure } = await command(connection)
    expect(isFailure).toBeUndefined()
    expect(text).toContain('1 database refused as expected in 1 case, and nothing was written')
    expect(text).toContain('skipped, because they are being restored: SHARD_001')
  })

  test('ends with 1 if a refusal is misread, and names the database, case and text', async () => {
    const bad = item('SHARD_001', { met: 'transient', text: 'D1_ERROR: it was fenced', ok: false })
    const { connection } = answering({ items: [item('SHARD_000'), bad], next: null })
    const { json, text, isFailure } = await command(connection)
    expect(isFailure).toBe(true)
    expect(text).toContain(
      'SHARD_001, guard, fenced slot: expected SLOT_FENCED, got transient\n    D1_ERROR: it was fenced',
    )
    expect(text).toContain('1 of 2 probes failed')
    expect(json).toMatchObject({ items: [{ ok: true }, bad] })
  })
})

describe('a deployment', () => {
  let platform: PlatformDouble
  let deployment: SmallDeployment

  beforeEach(async () => {
    platform = await startPlatform({ serving: 'stand-in' })
    deployment = smallDeployment(platform)
  })
  afterEach(async () => {
    deployment.close()
    await platform.close()
  })

  const lastStep = ({ json }: { json: unknown }) => (json as { steps: StepOutcome[] }).steps.at(-1)!

  test('ends with a probe of every database', async () => {
    expect(lastStep(await deployment.deploy({ isDryRun: true }))).toMatchObject({
      step: 'probe',
      result: 'would be asked',
      what: ['/operator/v1/probe'],
    })
    expect(lastStep(await deployment.deploy())).toEqual({
      step: 'probe',
      result: 'passed',
      what: ['2 databases refused as expected in 18 cases, and nothing was written'],
    })
    const left = "SELECT * FROM slots WHERE slot NOT GLOB '[0-9a-f][0-9a-f][0-9a-f][0-9a-f]'"
    for (const { engine } of platform.databases.databases)
      expect((await engine.batch([{ sql: left }]))[0]!.results).toEqual([])
  })

  test.each([
    ['without the result’s code', (text: string) => text.replace(/: SQLITE_.*/, '')],
    ['with another prefix', (text: string) => text.replace('D1_ERROR: ', 'Error: ')],
  ])('fails if refusals are worded %s, prints the text and names the fix', async (_, wording) => {
    platform.wording = wording
    const error = await deployment.deploy().then(
      () => null,
      (thrown: unknown) => thrown as UserError,
    )
    const text = wording('D1_ERROR: SLOT_FENCED: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_TRIGGER)')
    expect(error).toBeInstanceOf(UserError)
    expect(error!.message).toContain('SHARD_000, guard, fenced slot: expected SLOT_FENCED, got ')
    expect(error!.message).toContain(`\n    ${text}\n`)
    expect(error!.fix).toContain('npm run banyan -- rollback')
    // The generated token is kept, and the next run shows it.
    expect(deployment.deployment().drawn.read().OPERATOR_TOKEN).toBeDefined()
    platform.wording = (text) => text
    expect(lastStep(await deployment.deploy())).toMatchObject({ step: 'probe', result: 'passed' })
  })

  test('names a database that lacks a trigger', async () => {
    await deployment.deploy({ isDryRun: false })
    const [, second] = platform.databases.databases
    await second!.query([{ sql: 'DROP TRIGGER mover_step_insert' }])
    const operatorToken = platform.scripts.get('banyan').live!.bindings.find(({ name }) => name === 'OPERATOR_TOKEN')!
      .text as string
    await expect(deployment.deploy({ operatorToken })).rejects.toThrow(
      /1 of 36 probes failed[\s\S]*SHARD_001, mover’s step: expected STEP_MISMATCH, got /,
    )
  })

  test('says that it skipped the probe if no token is known', async () => {
    await deployment.deploy()
    expect(lastStep(await deployment.deploy()).what[0]).toContain('skipped, because no operators’ token is known')
  })
})

describe('a version that does not answer everywhere yet', () => {
  let server: Server
  afterEach(() => server.close())

  async function serving(answer: (asked: number) => [status: number, body: object]): Promise<string> {
    let asked = 0
    server = createServer((_, response) => {
      const [status, body] = answer(++asked)
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  const check = (url: string, pauses: number[]) =>
    probeCheck(
      { sleep: async (ms) => void pauses.push(ms) },
      () => url,
      () => 'token',
    ).check()

  test('is retried', async () => {
    const missing = { code: 'NOT_FOUND' }
    const url = await serving((asked) =>
      asked === 1
        ? [404, missing]
        : asked === 2
          ? [503, { code: 'SHARD_UNAVAILABLE' }]
          : [200, { items: [item('SHARD_000')], leftOut: [], next: null }],
    )
    const pauses: number[] = []
    expect(await check(url, pauses)).toContain('1 database refused as expected')
    expect(pauses).toEqual([2_000, 2_000])
  })

  test('is retried for at most a minute', async () => {
    const url = await serving(() => [404, { code: 'NOT_FOUND' }])
    const pauses: number[] = []
    await expect(check(url, pauses)).rejects.toThrow('answered 404')
    expect(pauses.reduce((sum, ms) => sum + ms)).toBe(60_000)
  })

  test('is asked only five times if every answer is lost', async () => {
    let asked = 0
    const url = await serving(() => [200, {}])
    server.prependListener('request', (request) => {
      asked++
      request.socket.destroy()
    })
    await expect(check(url, [])).rejects.toThrow('does not answer')
    expect(asked).toBe(5)
  })

  test('is not retried with a wrong token', async () => {
    const url = await serving(() => [401, { code: 'OPERATOR_TOKEN_REQUIRED' }])
    const pauses: number[] = []
    await expect(check(url, pauses)).rejects.toThrow('answered 401')
    expect(pauses).toEqual([])
  })
})
