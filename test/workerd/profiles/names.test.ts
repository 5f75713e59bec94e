import { expect, test } from 'vitest'
import '../../support/light-passwords.ts'
import { rows, runEverywhere } from '../../support/shard-rows.ts'
import { somebody, workerIsolate } from '../../support/worker-isolate.ts'

const BLANK = '\u200b\u3164\u2800'
const FORM_TYPE = { 'content-type': 'application/x-www-form-urlencoded', origin: 'http://localhost' }
const isolate = workerIsolate()

test('an invisible name is refused at the sign-up, in the settings and at an import', async () => {
  const named = { ...somebody(), displayName: BLANK }
  const signUp = await isolate.request('POST', '/api/v1/accounts', { json: named })
  expect([signUp.status, signUp.json()]).toMatchObject([
    422,
    {
      code: 'INVALID',
      errors: [{ pointer: '/displayName', detail: 'A display name has at least one visible character.' }],
    },
  ])
  const form = await isolate.request('POST', '/signup', { body: `${new URLSearchParams(named)}`, headers: FORM_TYPE })
  expect(form.status).toBe(422)
  expect(form.text).toContain('at least one visible character')

  const { token } = (await isolate.request('POST', '/api/v1/accounts', { json: somebody() })).json<{ token: string }>()
  const change = await isolate.request('PATCH', '/api/v1/me', { json: { displayName: BLANK }, token })
  expect([change.status, change.json()]).toMatchObject([422, { errors: [{ pointer: '/displayName' }] }])

  const users = [BLANK, 'Ada'].map((displayName, index) => {
    const { email, handle } = somebody()
    return { externalId: String(index), email, handle, displayName }
  })
  const json = { source: 'old', users }
  const imported = await isolate.request('POST', '/operator/v1/imports', { json, token: 'banyan-local' })
  expect(imported.json<{ items: unknown[] }>().items).toMatchObject([
    { outcome: 'refused', code: 'DISPLAY_NAME_INVALID' },
    { outcome: 'imported' },
  ])
  expect((await rows('profiles')).filter(({ display_name }) => display_name === BLANK)).toEqual([])
})

test('pages show the handle of a user with a stored invisible name', async () => {
  const person = somebody()
  const { token } = (await isolate.request('POST', '/api/v1/accounts', { json: person })).json<{ token: string }>()
  await runEverywhere('UPDATE profiles SET display_name = ? WHERE handle = ?', BLANK, person.handle)
  const cookie = { cookie: `__Host-session=${token}` }
  const page = await isolate.request('GET', `/@${person.handle}`, { headers: cookie })
  for (const piece of [`<title>${person.handle} (@${person.handle})`, `dir="auto">${person.handle}</h1>`])
    expect(page.text).toContain(piece)
  expect(page.text).not.toContain(BLANK)
})
