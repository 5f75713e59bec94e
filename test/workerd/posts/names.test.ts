import { expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { runEverywhere } from '../../support/shard-rows.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

const BLANK = '\u200b\u3164\u2800'
const isolate = workerIsolate()

test('pages of posts show the handle of a user with a stored invisible name', async () => {
  const person = somebody()
  const { token } = (await isolate.request('POST', '/api/v1/accounts', { json: person })).json<{ token: string }>()
  const { post } = (await isolate.request('POST', '/api/v1/posts', { json: { text: 'Here.' }, token })).json<{
    post: { id: string }
  }>()
  await runEverywhere('UPDATE profiles SET display_name = ? WHERE handle = ?', BLANK, person.handle)
  const cookie = { cookie: `__Host-session=${token}` }
  const shown: [path: string, pieces: string[]][] = [
    [`/posts/${post.id}`, [`<title>${person.handle}: Here.`, `<bdi class="byline-name">${person.handle}</bdi>`]],
    ['/home', [`dir="auto">${person.handle}</h1>`]],
  ]
  for (const [path, pieces] of shown) {
    const page = await isolate.request('GET', path, { headers: cookie })
    for (const piece of pieces) expect(page.text, path).toContain(piece)
    expect(page.text, path).not.toContain(BLANK)
  }
})
