import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { launchBrowser, openContext, type Person } from '../support/browser.ts'
import { type Stack, startStack } from '../support/stack.ts'

const PASSWORD = 'seven quiet herons'

let stack: Stack
let browser: Browser
const people: Person[] = []

beforeAll(async () => {
  ;[stack, browser] = await Promise.all([startStack(), launchBrowser()])
})
afterAll(async () => {
  await browser?.close()
  await stack?.close()
})

async function open(options = {}): Promise<Page> {
  const person = await openContext(browser, stack.url.origin, options)
  people.push(person)
  return person.page
}

const pathOf = (page: Page) => new URL(page.url()).pathname

async function signUp(page: Page, handle: string): Promise<void> {
  await page.goto('/')
  await page.getByRole('link', { name: 'Create your account' }).click()
  await page.getByLabel('E-mail').fill(`${handle}@example.com`)
  await page.getByLabel('Handle').fill(handle)
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByRole('button', { name: 'Create account' }).click()
  await page.waitForURL('**/home')
}

async function logIn(page: Page, login: string): Promise<void> {
  await page.goto('/login')
  await page.getByLabel('E-mail or handle').fill(login)
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.waitForURL('**/home')
}

async function publish(page: Page, text: string): Promise<void> {
  await page.getByLabel('New post').fill(text)
  await page.getByRole('button', { name: 'Publish' }).click()
  await page.getByRole('list').getByText(text, { exact: true }).waitFor()
}

/** Publishes, edits, deletes and logs out: everything that a signed-in user does, with or without scripts. */
async function publishEditAndLeave(page: Page): Promise<void> {
  await publish(page, 'The herons are back.')
  await page.getByRole('article').getByRole('link').first().click()
  await page.getByRole('link', { name: 'Edit', exact: true }).click()
  expect(await page.getByLabel('Text').inputValue()).toBe('The herons are back.')
  await page.getByLabel('Text').fill('The herons are back,\n\nall seven.')
  await page.getByRole('button', { name: 'Save changes' }).click()
  await page.getByText('edited').waitFor()
  expect(await page.locator('.words').textContent()).toBe('The herons are back,\n\nall seven.')
  await page.getByText('Delete…').click()
  await page.getByRole('button', { name: 'Delete this post' }).click()
  await page.getByText('Your first post will appear here').waitFor()
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.getByRole('link', { name: 'Create your account' }).waitFor()
  await page.goto('/home')
  expect(pathOf(page)).toBe('/login')
}

test('a user signs up, publishes, edits, deletes and logs out', async () => {
  const page = await open()
  await signUp(page, 'ada')
  await publishEditAndLeave(page)
})

test('the same works without scripts', async () => {
  const page = await open({ javaScriptEnabled: false })
  await signUp(page, 'bea')
  await publishEditAndLeave(page)
  await logIn(page, 'bea@example.com')
  await page.getByLabel('New post').fill('a'.repeat(2_001))
  await page.getByRole('button', { name: 'Publish' }).click()
  expect(await page.locator('#text-error').textContent()).toContain('at most 2000 characters')
  expect(await page.getByLabel('New post').inputValue()).toHaveLength(2_001)
})

test('a session that was revoked in another browser is signed out at its next write', async () => {
  const first = await open()
  await signUp(first, 'cleo')
  const second = await open()
  await logIn(second, 'cleo')
  await second.getByRole('link', { name: 'Settings' }).click()
  await second.getByRole('button', { name: /^Sign out(?! all)/ }).click()
  await expect.poll(() => second.locator('.session').count()).toBe(1)
  await first.getByLabel('New post').fill('Still me?')
  await first.getByRole('button', { name: 'Publish' }).click()
  await first.getByRole('heading', { name: /^(Sign in first|The session has ended)$/ }).waitFor()
  await first.goto('/home')
  expect(pathOf(first)).toBe('/login')
  await second.goto('/home')
  await second.getByText('Nothing yet.').waitFor()
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
  await page.waitForURL('**/home')
  await tabTo(page, 'text')
  await page.keyboard.type('No hands.')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await page.getByRole('list').getByText('No hands.').waitFor()
})

/** Presses Tab until the element with this id has the focus. */
async function tabTo(page: Page, id: string): Promise<void> {
  for (let presses = 0; presses < 25; presses++) {
    await page.keyboard.press('Tab')
    if ((await page.evaluate('document.activeElement?.id')) === id) return
  }
  throw new Error(`25 times Tab don't lead to #${id}`)
}

test('no page is wider than a phone', async () => {
  const page = await open({ viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true })
  const wide = async () => {
    const [content, window] = await page.evaluate<[number, number]>(
      '[document.documentElement.scrollWidth, document.documentElement.clientWidth]',
    )
    return content > window ? [`${pathOf(page)} is ${content} wide`] : []
  }
  const tooWide: string[] = []
  const visit = async (paths: string[]) => {
    for (const path of paths) {
      await page.goto(path)
      tooWide.push(...(await wide()))
    }
  }
  const longest = 'a'.repeat(30)
  await visit(['/', '/signup', '/login', '/forgot-password', '/verify-email/x', '/reset-password/x', '/nothing'])
  await signUp(page, longest)
  await publish(page, `${'w'.repeat(300)} https://example.com/${'path/'.repeat(60)}`)
  await page.goto('/settings')
  await page.getByLabel('Display name').fill('N'.repeat(50))
  await page.getByLabel('Bio').fill('b'.repeat(300))
  await page.getByRole('button', { name: 'Save profile' }).click()
  await page.getByText('Saved.').waitFor()
  tooWide.push(...(await wide()))
  await visit(['/home', '/settings', `/@${longest}`])
  await page.getByRole('article').getByRole('link').first().click()
  const post = pathOf(page)
  await visit([post, `${post}/edit`])
  expect(tooWide).toEqual([])
})

test('older posts are one link away, in order', async () => {
  const page = await open()
  await signUp(page, 'flo')
  const client = stack.bearer()
  await client.post('/api/v1/sessions', { login: 'flo', password: PASSWORD })
  for (let number = 1; number <= 21; number++) await client.post('/api/v1/posts', { text: `Number ${number}.` })
  for (const path of ['/home', '/@flo']) {
    await page.goto(path)
    expect(await page.locator('.words').first().textContent()).toBe('Number 21.')
    await page.getByRole('link', { name: 'Older posts' }).click()
    await page.getByText('Number 1.', { exact: true }).waitFor()
    expect(await page.locator('.words').allTextContents()).toEqual(['Number 1.'])
    expect(pathOf(page)).toBe(path)
  }
})

test('no console has a message', () => {
  expect(people.length).toBeGreaterThan(5)
  expect(people.flatMap(({ complaints }) => complaints)).toEqual([])
})
