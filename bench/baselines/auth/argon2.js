import { hash, verify } from 'argon2'

/** argon2 alone: as many verifications at once as the pool of threads has threads, for so many seconds. */
const stored = await hash('correct-horse-battery-staple', { memoryCost: 19_456, timeCost: 2, parallelism: 1 })
const check = () => verify(stored, 'correct-horse-battery-staple')
process.on('disconnect', process.exit)
process.on('message', async ({ seconds }) => {
  const end = performance.now() + seconds * 1000
  let done = 0
  await Promise.all(
    Array.from({ length: Number(process.env.UV_THREADPOOL_SIZE) }, async () => {
      while (performance.now() < end && (await check())) done += 1
    }),
  )
  process.send({ rate: done / seconds })
})
process.send({ ready: true })
