import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Bearer } from '../support/http-client.ts'
import { type Stack, startStack } from '../support/stack.ts'
import { expectPublished, expectRefused, publicKeys } from '../support/uploaded-pictures.ts'
import { acceptedUploads, heavyUpload, photoUpload, refusedUploads } from '../support/uploads.ts'

let stack: Stack
let people = 0

beforeAll(async () => {
  stack = await startStack()
})
afterAll(() => stack?.close())

async function signUp(): Promise<Bearer> {
  const client = stack.bearer()
  const handle = `painter_${people++}`
  const account = { email: `${handle}@example.com`, handle, password: 'seven quiet herons' }
  expect((await client.post('/api/v1/accounts', account)).status).toBe(201)
  return client
}

test.each([...acceptedUploads, photoUpload])(
  '$file has upright variants without metadata, or is refused if its pixels are damaged',
  async (upload) => {
    await expectPublished(stack, await signUp(), upload)
  },
)

test('all other files of the corpus are refused', async () => {
  const client = await signUp()
  for (const upload of [...refusedUploads, heavyUpload]) await expectRefused(client, upload)
})

test('nothing of R2 is public but variants', async () => {
  const keys = await publicKeys(stack)
  expect(keys.length).toBeGreaterThan(100)
  const strange = keys.filter(({ key, isPublic }) => isPublic !== /^(variants|static)\//.test(key))
  expect(strange).toEqual([])
})
