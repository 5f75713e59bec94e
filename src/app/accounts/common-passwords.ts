/** Passwords of at least ten characters that are on every published list of leaked passwords. */
const listed = new Set(
  `1234567890 12345678910 123456789a 1234567891 0123456789 0987654321 9876543210 1234512345 1122334455 1111111111
  qwertyuiop qwerty1234 qwerty12345 qwerty123456 qwertyuiop123 1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx3edc qazwsxedcrfv
  asdfghjkl1 asdfghjkl123 zxcvbnm123 password12 password123 password1234 password12345 passw0rd123 password01 mypassword
  mypassword1 yourpassword iloveyou12 iloveyou123 iloveyou1234 iloveyousomuch letmein123 letmein1234 welcome123 welcome1234
  admin12345 administrator adminadmin changeme123 football123 football12 baseball123 basketball basketball1 superman123
  sunshine123 princess123 princess12 charlie123 michael123 jennifer12 liverpool1 liverpool123 manchester chocolate1
  butterfly1 spiderman123 starwars123 trustno1234 abcdefghij abcdefg123 abc1234567 abcd123456 abcd1234567 a123456789
  q123456789 123qweasdzxc qweasdzxc123 computer123 internet123 samsung123 whatever123 blink182182 correcthorsebatterystaple
  monkey12345 dragon12345 master12345 killer12345 shadow12345 secret12345 summer2024 summer2025 summer2026 winter2025 winter2026`
    .split(/\s+/)
    .filter((password) => password !== ''),
)

/** True for a password on the list, a repeated character, or a run of consecutive characters. */
export function isCommonPassword(password: string): boolean {
  const text = password.toLowerCase()
  return listed.has(text) || /^(.)\1*$/su.test(text) || isRun(text)
}

function isRun(text: string): boolean {
  const pointAt = (characters: string, index: number) => characters.codePointAt(index) ?? 0
  const steps = [...text].slice(1).map((character, index) => pointAt(character, 0) - pointAt(text, index))
  return steps.every((step) => step === 1) || steps.every((step) => step === -1)
}
