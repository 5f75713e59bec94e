import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import type { BrowserGiven } from '../support/browser-given.ts'
import { browserStand, hasLeft, pathOf } from '../support/browser-stand.ts'

const PASSWORD = 'seven quiet herons'

const { people, ...given } = browserStand()
const { stack, open, signUp, logIn, tabTo, tooWide } = given

/** On the settings page. */
async function saveBio(page: Page, bio: string): Promise<void> {
  await page.getByLabel('Bio').fill(bio)
  await page.getByRole('button', { name: 'Save profile' }).click()
}

/** Changes the profile, views it and logs out, with or without scripts. */
async function introduceAndLeave(page: Page, handle: string): Promise<void> {
  await page.goto('/settings')
  await saveBio(page, 'Counts herons.')
  await page.getByText('Saved.').waitFor()
  await page.goto(`/@${handle}`)
  await page.getByText('Counts herons.').waitFor()
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.getByRole('link', { name: 'Create your account' }).waitFor()
  await page.goto('/settings')
  expect(pathOf(page)).toBe('/login')
}

test('a user signs up, changes the profile and logs out', async () => {
  const page = await open()
  await signUp(page, 'ada')
  await introduceAndLeave(page, 'ada')
})

test('the same works without scripts', async () => {
  const page = await open({ javaScriptEnabled: false })
  await signUp(page, 'bea')
  await introduceAndLeave(page, 'bea')
  await logIn(page, 'bea@example.com')
  await page.goto('/settings')
  await saveBio(page, 'a'.repeat(301))
  await page.locator('#bio-error').waitFor()
  expect(await page.getByLabel('Bio').inputValue()).toHaveLength(301)
})

const browserTests = import.meta.glob<{ browserTests: (given: BrowserGiven) => void }>('./*/browser.ts', {
  eager: true,
})
for (const { browserTests: register } of Object.values(browserTests)) register(given)

test('a session that was revoked in another browser is signed out at its next write', async () => {
  const first = await open()
  await signUp(first, 'cleo')
  await first.goto('/settings')
  const second = await open()
  await logIn(second, 'cleo')
  await second.getByRole('link', { name: 'Settings' }).click()
  await second.getByRole('button', { name: /^Sign out(?! all)/ }).click()
  await expect.poll(() => second.locator('.session').count()).toBe(1)
  await first.getByLabel('Bio').fill('Still me?')
  await first.getByRole('button', { name: 'Save profile' }).click()
  await first.getByRole('heading', { name: /^(Sign in first|The session has ended)$/ }).waitFor()
  await first.goto('/settings')
  expect(pathOf(first)).toBe('/login')
  await second.goto('/settings')
  expect(await second.getByLabel('Bio').inputValue()).toBe('')
})

test('a user changes the handle and the e-mail address in the settings, without scripts, too', async () => {
  for (const [handle, options] of [
    ['ulla', {}],
    ['vito', { javaScriptEnabled: false }],
  ] as const) {
    const page = await open(options)
    await signUp(page, handle)
    const user = await (await fetch(new URL(`/api/v1/users/${handle}`, stack().url))).json()
    await page.goto('/settings')
    await page.locator('#handle').fill('x')
    await page.getByRole('button', { name: 'Change handle' }).click()
    await page.locator('#handle-error').waitFor()
    await page.locator('#handle').fill(`${handle}_2`)
    await page.getByRole('button', { name: 'Change handle' }).click()
    await page.getByText('Your handle is saved.').waitFor()
    expect((await page.goto(`/@${handle}`))?.status()).toBe(404)
    await page.goto('/settings')
    await page.locator('#newEmail').fill(`${handle}.2@example.com`)
    await page.locator('#emailPassword').fill('not this one')
    await page.getByRole('button', { name: 'Change e-mail' }).click()
    await page.locator('#emailPassword-error').waitFor()
    expect(await page.locator('#newEmail').inputValue()).toBe(`${handle}.2@example.com`)
    await page.locator('#emailPassword').fill(PASSWORD)
    await page.getByRole('button', { name: 'Change e-mail' }).click()
    await page.getByText('We sent a link to').waitFor()
    const token = await stack().mailedToken('confirm-email', (user as { user: { id: string } }).user.id)
    await page.goto(`/confirm-email/${token}`)
    await page.getByRole('button', { name: 'Use this address' }).click()
    await page.locator('p.email', { hasText: `${handle}.2@example.com` }).waitFor()
    expect(pathOf(page)).toBe('/settings')
    expect(await page.getByText('We sent a link to').count()).toBe(0)
  }
})

test('a new user finds the mail on the page of a local server, and confirms the address with its button', async () => {
  const page = await open()
  await signUp(page, 'mia')
  const newest = page.locator('details').first()
  await expect
    .poll(
      async () => {
        await page.goto('/dev/mails')
        return (await page.locator('details').allTextContents())[0] ?? ''
      },
      { timeout: 15_000 },
    )
    .toContain('mia@example.com')
  const preview = newest.frameLocator('iframe')
  await preview.getByText('If you did not sign up, ignore this mail.').waitFor()
  expect(await tooWide(page)).toEqual([])
  const link = await page.locator('#newest-link').getAttribute('href')
  await preview.getByRole('link', { name: 'Confirm this address' }).click()
  await page.waitForURL(link ?? '')
  await page.goto('/dev/mails')
  await page.locator('#newest-link').click()
  await page.getByRole('button', { name: 'Confirm my e-mail' }).click()
  await page.locator('p.email .badge', { hasText: /^Confirmed$/ }).waitFor()
  expect(pathOf(page)).toBe('/settings')
  const box = page.getByLabel('Send me a mail when a new device logs in')
  await box.uncheck()
  await page.getByRole('button', { name: 'Save mails' }).click()
  await page.getByText('Saved.').waitFor()
  expect(await box.isChecked()).toBe(false)
})

test('an error is shown beside its field, and the typed values stay', async () => {
  const page = await open()
  await page.goto('/signup')
  const typed = { 'E-mail': 'dora@example.com', Handle: 'd', 'Display name': 'Dora' }
  for (const [label, text] of Object.entries(typed)) await page.getByLabel(label).fill(text)
  await page.getByLabel('Password').fill('short')
  await page.getByRole('button', { name: 'Create account' }).click()
  await page.locator('#handle-error').waitFor()
  for (const [label, text] of Object.entries(typed)) expect(await page.getByLabel(label).inputValue()).toBe(text)
  expect(await page.getByLabel('Password').inputValue()).toBe('')
  for (const id of ['handle', 'password']) {
    const field = page.locator(`#${id}`)
    expect(await field.getAttribute('aria-invalid')).toBe('true')
    expect((await field.getAttribute('aria-describedby'))?.split(' ')).toContain(`${id}-error`)
  }
  expect(await page.locator('#email-error').count()).toBe(0)
})

test('all of it works with the keyboard alone', async () => {
  const page = await open()
  await page.goto('/signup')
  const typed = ['eve@example.com', 'eve', 'Eve', PASSWORD]
  await page.keyboard.press('Tab')
  expect(await page.evaluate('document.activeElement?.textContent')).toBe('Skip to content')
  await page.keyboard.press('Enter')
  for (const [index, id] of ['email', 'handle', 'displayName', 'password'].entries()) {
    await tabTo(page, id)
    await page.keyboard.type(typed[index]!)
  }
  await page.keyboard.press('Enter')
  await hasLeft(page, '/signup')
  await page.goto('/settings')
  await tabTo(page, 'bio')
  await page.keyboard.type('No hands.')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await page.getByText('Saved.').waitFor()
})

test('no page is wider than a phone', async () => {
  const page = await open({ viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true })
  const longest = 'a'.repeat(30)
  const tokens = ['/verify-email/x', '/confirm-email/x', '/reset-password/x']
  const everybodys = ['/', '/signup', '/login', '/forgot-password', ...tokens, '/nothing']
  expect(await tooWide(page, everybodys)).toEqual([])
  await signUp(page, longest)
  await page.goto('/settings')
  await page.getByLabel('Display name').fill('N'.repeat(50))
  await saveBio(page, 'b'.repeat(300))
  await page.getByText('Saved.').waitFor()
  expect(await tooWide(page)).toEqual([])
  expect(await tooWide(page, ['/settings', `/@${longest}`])).toEqual([])
})

test('no console has a message', () => {
  expect(people.length).toBeGreaterThan(5)
  expect(people.flatMap(({ complaints }) => complaints)).toEqual([])
})
