import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Instance } from '../../../../scripts/cluster/instance.ts'

const LIMIT_MS = 150

let server: Server
let instance: Instance
/** What the Worker behind the relay was asked. */
let asked: string[]
let answer: RequestListener

beforeEach(async () => {
  asked = []
  answer = (_, response) => void response.end('ok')
  server = createServer((request, response) => {
    asked.push(request.url!)
    answer(request, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  instance = await Instance.start('web-1', { host: '127.0.0.1', port: (server.address() as AddressInfo).port })
})
afterEach(async () => {
  await instance.close()
  server.closeAllConnections()
  server.close()
})

/** The answer's text, `no answer`, or the code of the error. */
async function get(path: string): Promise<string> {
  const { host, port } = instance.address
  try {
    // Each request has its own connection.
    const init = { headers: { connection: 'close' }, signal: AbortSignal.timeout(LIMIT_MS) }
    const response = await fetch(`http://${host}:${port}${path}`, init)
    return await response.text()
  } catch (error) {
    const { name, cause } = error as Error & { cause?: { code?: string } }
    return name === 'TimeoutError' ? 'no answer' : (cause?.code ?? name)
  }
}

test('a crashed server refuses connections, and serves again after its start', async () => {
  expect(await get('/1')).toBe('ok')
  instance.fail('crash')
  expect(await get('/2')).toBe('ECONNREFUSED')
  await instance.start()
  expect(await get('/3')).toBe('ok')
  expect(asked).toEqual(['/1', '/3'])
})

test('a crash breaks the connection of a request that waits', async () => {
  answer = () => instance.fail('crash')
  expect(await get('/1')).toBe('UND_ERR_SOCKET')
})

test('a frozen server accepts a connection and executes nothing', async () => {
  expect(await get('/1')).toBe('ok')
  instance.fail('freeze')
  expect(await get('/2')).toBe('no answer')
  expect(await get('/3')).toBe('no answer')
  await instance.start()
  expect(await get('/4')).toBe('ok')
  expect(asked).toEqual(['/1', '/4'])
})

test('a mute server executes requests, and no answer arrives', async () => {
  expect(await get('/1')).toBe('ok')
  instance.fail('mute')
  expect(await get('/2')).toBe('no answer')
  expect(await get('/3')).toBe('no answer')
  expect(asked).toEqual(['/1', '/2', '/3'])
  await instance.start()
  expect(await get('/4')).toBe('ok')
})

test.each(['freeze', 'mute'] as const)('%s in the middle of an answer: the rest does not arrive', async (failure) => {
  answer = (_, response) => {
    response.write('half')
    setTimeout(() => {
      instance.fail(failure)
      response.end(' more')
    }, 30)
  }
  expect(await get('/1')).toBe('no answer')
})
