/* A bounded model of a ring of pointers, its owner words, and the reaper.
 *
 * Two producers, a consumer and a reaper share a ring of four slots in lines of two; a line is the
 * unit whose first part a producer fills last. One of the first three is killed, between any two of
 * its steps; with REAPER_DIES a first reaper too, and a second one follows. A step is one load, one
 * store or one compare-and-swap of the sources (ring.hpp, ring.cpp, buffer_recovery.cpp): x86-64
 * shows them in program order.
 *
 * Checked: each buffer is freed at most once; in the end each is freed, or in the ring once, or in
 * the hands of a living member; those of one producer are received in order; nobody waits for ever
 * (every process reaches its end).
 *
 * Each of these must make a check fail: LATE_CUSTODY (I2 broken), NO_REPAIR (slots behind a gap
 * stay), NO_RECHECK (the reaper keeps what it listed without looking again), BLIND_REAPER (it does
 * not look into the ring: I1 broken), COMMITTED_ONLY (it looks only at what is committed, while a
 * take-over is not). What the bounds are too small for: laps that overtake a walk, and generations
 * that come round.
 */

#define SLOTS 4
#define LINE 2
#define CAPACITY 4
#define START 3 /* a batch of three lies in two lines and over the wrap */
#define BUFFERS 4
#ifndef ROUNDS
#define ROUNDS 1 /* of the consumer; 2 in full runs */
#endif

#define PRODUCER 0 /* sides */
#define CONSUMER 1

#define A 1 /* members; each has the lane of its number */
#define B 2
#define C 3
#define R1 4
#define R2 5
#define NOBODY 0

typedef side {
    byte position;
    byte lane;
    byte generation;
    byte pending
};

side sides[2];
byte slot[SLOTS];
bit mark[SLOTS];

byte owner[BUFFERS];  /* the custody word: a member, or NOBODY once freed */
byte freed[BUFFERS];

bool dead[6];
bool reaped[6];
byte reaper_lock;
byte active_members;
short last_of_a = -1;

#define at(p) ((p) % SLOTS)
#define lap_mark(p) (1 - ((p) / SLOTS) % 2)
#define filled(p) (mark[at(p)] == lap_mark(p))

#ifdef NO_RECHECK
#define still_owned(b) true
#else
#define still_owned(b) (owner[b] == victim)
#endif
#ifdef NO_REPAIR
#define repairs false
#else
#define repairs true
#endif

/* One compare-and-swap on a side as it was seen. */
inline claim_side(s, me)
{
    atomic {
        if
        :: sides[s].position == seen_position && sides[s].lane == seen_lane &&
           sides[s].generation == seen_generation ->
            sides[s].lane = me;
            sides[s].generation++;
            won = true
        :: else -> won = false
        fi
    }
}

inline look_at(s)
{
    d_step {
        seen_position = sides[s].position;
        seen_lane = sides[s].lane;
        seen_generation = sides[s].generation
    }
}

inline let_go(s, to)
{
    d_step {
        sides[s].position = to;
        sides[s].lane = NOBODY;
        sides[s].generation++
    }
}

/* The producer side, claimed by `me` from a dead lane at seen_position. */
inline repair()
{
    kept = 0;
    do
    :: d_step { kept < SLOTS && filled(seen_position + kept) -> kept++ }
    :: else -> break
    od;
    i = kept;
    do
    :: d_step {
            repairs && i < sides[PRODUCER].pending && i < SLOTS ->
            if
            :: filled(seen_position + i) ->
                mark[at(seen_position + i)] = 1 - lap_mark(seen_position + i)
            :: else
            fi;
            i++
        }
    :: else -> break
    od
}

inline take_over(s, me)
{
    claim_side(s, me);
    if
    :: won && s == PRODUCER ->
        repair();
        let_go(s, seen_position + kept)
    :: won && s == CONSUMER -> let_go(s, seen_position)
    :: else
    fi
}

/* A burst of `n` buffers from `first` on; `done` says how many went in. */
inline enqueue(me, first, n)
{
    done = 0;
    do
    :: look_at(PRODUCER);
        if
        :: seen_lane == NOBODY ->
            count = CAPACITY - (seen_position - sides[CONSUMER].position);
            if
            :: count > n -> count = n
            :: else
            fi;
            if
            :: count == 0 -> break
            :: else
            fi;
            claim_side(PRODUCER, me);
            if
            :: won ->
                in_line = LINE - seen_position % LINE;
                if
                :: count > in_line ->
                    sides[PRODUCER].pending = count;
                    i = in_line;
                    do
                    :: d_step {
                            i < count ->
                            slot[at(seen_position + i)] = first + i;
                            mark[at(seen_position + i)] = lap_mark(seen_position + i);
                            i++
                        }
                    :: else -> break
                    od
                :: else -> in_line = count
                fi;
                i = 0;
                do
                :: d_step {
                        i < in_line ->
                        slot[at(seen_position + i)] = first + i;
                        mark[at(seen_position + i)] = lap_mark(seen_position + i);
                        i++
                    }
                :: else -> break
                od;
                let_go(PRODUCER, seen_position + count);
                done = count;
                break
            :: else
            fi
        :: seen_lane != NOBODY && dead[seen_lane] -> take_over(PRODUCER, me)
        :: else -> (sides[PRODUCER].lane != seen_lane || dead[seen_lane])
        fi
    od
}

proctype producer(byte me; byte first; byte n)
{
    byte seen_position, seen_lane, seen_generation, kept, i, count, in_line, done;
    bool won;
    {
        enqueue(me, first, n);
        /* What did not fit is given up. */
        do
        :: d_step {
                done < n ->
                freed[first + done]++;
                assert(freed[first + done] == 1);
                owner[first + done] = NOBODY;
                done++
            }
        :: else -> break
        od
    } unless { dead[me] }
    active_members--
}

proctype consumer(byte me)
{
    byte seen_position, seen_lane, seen_generation, kept, i, count;
    byte got[2];
    byte rounds;
    bool won;
    {
        do
        :: rounds == ROUNDS -> break
        :: else ->
            rounds++;
            look_at(CONSUMER);
            if
            :: seen_lane != NOBODY && dead[seen_lane] -> take_over(CONSUMER, me)
            :: seen_lane != NOBODY && !dead[seen_lane] -> skip
            :: seen_lane == NOBODY && filled(seen_position) ->
                claim_side(CONSUMER, me);
                if
                :: won ->
                    count = 0;
                    do
                    :: d_step {
                            count < 2 && filled(seen_position + count) ->
                            got[count] = slot[at(seen_position + count)];
                            count++
                        }
                    :: else -> break
                    od;
#ifdef LATE_CUSTODY
                    let_go(CONSUMER, seen_position + count);
#endif
                    i = 0;
                    do
                    :: d_step { i < count -> owner[got[i]] = me; i++ }
                    :: else -> break
                    od;
#ifndef LATE_CUSTODY
                    let_go(CONSUMER, seen_position + count);
#endif
                    i = 0;
                    do
                    :: d_step {
                            i < count ->
                            assert(freed[got[i]] == 0);
                            if
                            :: got[i] < 3 -> assert(got[i] > last_of_a); last_of_a = got[i]
                            :: else
                            fi;
                            freed[got[i]]++;
                            owner[got[i]] = NOBODY;
                            i++
                        }
                    :: else -> break
                    od
                :: else
                fi
            :: else
            fi
        od
    } unless { dead[me] }
    active_members--
}

#ifdef BLIND_REAPER
#define looks_into_ring false
#else
#define looks_into_ring true
#endif
#ifdef COMMITTED_ONLY
#define looks_beyond false
#else
#define looks_beyond true
#endif

/* for_each_handle: what is committed; what is published behind that; what was committed while the
 * walk was there. */
inline walk_ring()
{
    from = sides[CONSUMER].position;
    until = sides[PRODUCER].position;
    do
    :: d_step { from < until -> listed[slot[at(from)]] = false; from++ }
    :: else -> break
    od;
    i = 0;
    do
    :: d_step {
            looks_beyond && i < SLOTS && filled(from) ->
            listed[slot[at(from)]] = false;
            from++;
            i++
        }
    :: else -> break
    od;
    until = sides[PRODUCER].position;
    do
    :: d_step { from < until -> listed[slot[at(from)]] = false; from++ }
    :: else -> break
    od
}

#define is_left(m) (dead[m] && !reaped[m])
#ifdef REAPER_DIES
#define last_victim R1
#define to_reap (is_left(A) || is_left(B) || is_left(C) || is_left(R1))
#else
#define last_victim C
#define to_reap (is_left(A) || is_left(B) || is_left(C))
#endif

/* Sees to every dead member, until all others have ended. */
proctype reaper(byte me)
{
    byte seen_position, seen_lane, seen_generation, kept, i, s, victim, from, until;
    bool won;
    bool listed[BUFFERS];
    {
        do
        :: atomic {
                to_reap && (reaper_lock == NOBODY || (reaper_lock != me && dead[reaper_lock])) ->
                    reaper_lock = me
            }
            victim = A;
            do
            :: victim <= last_victim ->
                if
                :: dead[victim] && !reaped[victim] ->
                    s = PRODUCER;
                    do
                    :: s <= CONSUMER ->
                        look_at(s);
                        if
                        :: seen_lane == victim -> take_over(s, me)
                        :: else
                        fi;
                        s++
                    :: else -> break
                    od;
                    i = 0;
                    do
                    :: d_step { i < BUFFERS -> listed[i] = (owner[i] == victim); i++ }
                    :: else -> break
                    od;
                    if
                    :: looks_into_ring -> walk_ring()
                    :: else
                    fi;
                    i = 0;
                    do
                    :: d_step {
                            i < BUFFERS ->
                            if
                            :: listed[i] && still_owned(i) ->
                                freed[i]++;
                                assert(freed[i] == 1);
                                owner[i] = NOBODY
                            :: else
                            fi;
                            i++
                        }
                    :: else -> break
                    od;
                    reaped[victim] = true
                :: else
                fi;
                victim++
            :: else -> break
            od;
            reaper_lock = NOBODY
        :: active_members == 0 && !to_reap -> break
        od
    } unless { dead[me] }
}

proctype killer()
{
    if
    :: atomic { true -> dead[A] = true }
    :: atomic { true -> dead[B] = true }
    :: atomic { true -> dead[C] = true }
    :: skip
    fi
#ifdef REAPER_DIES
    ;
    dead[R1] = true
#endif
}

init
{
    byte i, copies, b;
    atomic {
        sides[PRODUCER].position = START;
        sides[CONSUMER].position = START;
        /* As rewound: no slot is filled for its next position. */
        i = 0;
        do
        :: i < SLOTS -> mark[at(START + i)] = 1 - lap_mark(START + i); i++
        :: else -> break
        od;
        owner[0] = A; owner[1] = A; owner[2] = A; owner[3] = B;
        active_members = 3;
        run producer(A, 0, 3);
        run producer(B, 3, 1);
        run consumer(C);
        run reaper(R2);
#ifdef REAPER_DIES
        run reaper(R1);
#endif
        run killer()
    }
    (_nr_pr == 1);
    /* All is quiet. */
    assert(sides[PRODUCER].lane == NOBODY || dead[sides[PRODUCER].lane] == false);
    b = 0;
    do
    :: b < BUFFERS ->
        copies = 0;
        i = 0;
        do
        :: i < SLOTS && sides[CONSUMER].position + i < sides[PRODUCER].position ->
            assert(filled(sides[CONSUMER].position + i));
            copies = copies + (slot[at(sides[CONSUMER].position + i)] == b -> 1 : 0);
            i++
        :: else -> break
        od;
        assert(!filled(sides[PRODUCER].position));
        assert(freed[b] + copies == 1);
        b++
    :: else -> break
    od
}
