;; SIMD kernels of training operators that ggml lacks. Every address is in bytes, every count in elements; counts are
;; multiples of 4, of 32 where masks are packed. They work on tiles that the host copies in and out of the one memory.
(module
  (import "env" "memory" (memory 1 64 shared))

  ;; y = x cut to 0 … limit, and one bit per element: whether 0 < x < limit. 32 elements a word.
  (func $mask_forward (export "mask_forward")
    (param $x i32) (param $y i32) (param $mask i32) (param $n i32) (param $limit f32)
    (local $v v128) (local $zero v128) (local $most v128) (local $word i32) (local $lane i32)
    (local.set $zero (f32x4.splat (f32.const 0)))
    (local.set $most (f32x4.splat (local.get $limit)))
    (loop $words
      (local.set $word (i32.const 0))
      (local.set $lane (i32.const 0))
      (loop $lanes
        (local.set $v (v128.load (local.get $x)))
        (local.set $word (i32.or (local.get $word)
          (i32.shl (i32x4.bitmask (v128.and (f32x4.gt (local.get $v) (local.get $zero)) (f32x4.gt (local.get $most) (local.get $v))))
            (local.get $lane))))
        (v128.store (local.get $y) (f32x4.min (f32x4.max (local.get $v) (local.get $zero)) (local.get $most)))
        (local.set $x (i32.add (local.get $x) (i32.const 16)))
        (local.set $y (i32.add (local.get $y) (i32.const 16)))
        (br_if $lanes (i32.lt_u (local.tee $lane (i32.add (local.get $lane) (i32.const 4))) (i32.const 32))))
      (i32.store (local.get $mask) (local.get $word))
      (local.set $mask (i32.add (local.get $mask) (i32.const 4)))
      (br_if $words (local.tee $n (i32.sub (local.get $n) (i32.const 32))))))

  ;; y = x cut to 0 … limit.
  (func $clamp (export "clamp") (param $x i32) (param $y i32) (param $n i32) (param $limit f32)
    (local $zero v128) (local $most v128)
    (local.set $zero (f32x4.splat (f32.const 0)))
    (local.set $most (f32x4.splat (local.get $limit)))
    (loop $fours
      (v128.store (local.get $y) (f32x4.min (f32x4.max (v128.load (local.get $x)) (local.get $zero)) (local.get $most)))
      (local.set $x (i32.add (local.get $x) (i32.const 16)))
      (local.set $y (i32.add (local.get $y) (i32.const 16)))
      (br_if $fours (local.tee $n (i32.sub (local.get $n) (i32.const 4))))))

  ;; dx = dy where 0 < y < limit, else 0.
  (func $clamp_backward (export "clamp_backward") (param $y i32) (param $dy i32) (param $dx i32) (param $n i32) (param $limit f32)
    (local $v v128) (local $zero v128) (local $most v128)
    (local.set $zero (f32x4.splat (f32.const 0)))
    (local.set $most (f32x4.splat (local.get $limit)))
    (loop $fours
      (local.set $v (v128.load (local.get $y)))
      (v128.store (local.get $dx) (v128.and (v128.load (local.get $dy))
        (v128.and (f32x4.gt (local.get $v) (local.get $zero)) (f32x4.gt (local.get $most) (local.get $v)))))
      (local.set $y (i32.add (local.get $y) (i32.const 16)))
      (local.set $dy (i32.add (local.get $dy) (i32.const 16)))
      (local.set $dx (i32.add (local.get $dx) (i32.const 16)))
      (br_if $fours (local.tee $n (i32.sub (local.get $n) (i32.const 4))))))

  ;; dx = dy where the bit is set, else 0. At `bits` lie the lanes 1, 2, 4, 8.
  (func $mask_backward (export "mask_backward")
    (param $dy i32) (param $mask i32) (param $dx i32) (param $n i32) (param $bits i32)
    (local $lanes v128) (local $word i32) (local $left i32)
    (local.set $lanes (v128.load (local.get $bits)))
    (loop $words
      (local.set $word (i32.load (local.get $mask)))
      (local.set $left (i32.const 8))
      (loop $fours
        (v128.store (local.get $dx) (v128.and (v128.load (local.get $dy))
          (i32x4.eq (v128.and (i32x4.splat (local.get $word)) (local.get $lanes)) (local.get $lanes))))
        (local.set $word (i32.shr_u (local.get $word) (i32.const 4)))
        (local.set $dy (i32.add (local.get $dy) (i32.const 16)))
        (local.set $dx (i32.add (local.get $dx) (i32.const 16)))
        (br_if $fours (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      (local.set $mask (i32.add (local.get $mask) (i32.const 4)))
      (br_if $words (local.tee $n (i32.sub (local.get $n) (i32.const 32))))))

  ;; The logistic function of twice GELU's argument sqrt(2/pi) (x + 0.044715 x^3), so that gelu(x) = x times it. The
  ;; exponential is 2^n by the exponent bits times the series of 2^f on [-1/2, 1/2].
  (func $gate (param $x v128) (result v128)
    (local $t v128) (local $n v128) (local $p v128)
    (local.set $t (f32x4.mul (local.get $x) (f32x4.mul (f32x4.splat (f32.const -2.302208198))
      (f32x4.add (f32x4.splat (f32.const 1)) (f32x4.mul (f32x4.splat (f32.const 0.044715)) (f32x4.mul (local.get $x) (local.get $x)))))))
    (local.set $t (f32x4.max (f32x4.splat (f32.const -120)) (f32x4.min (f32x4.splat (f32.const 120)) (local.get $t))))
    (local.set $n (f32x4.nearest (local.get $t)))
    (local.set $t (f32x4.sub (local.get $t) (local.get $n)))
    (local.set $p (f32x4.splat (f32.const 1.525273380e-5)))
    (local.set $p (f32x4.add (f32x4.mul (local.get $p) (local.get $t)) (f32x4.splat (f32.const 1.540353039e-4))))
    (local.set $p (f32x4.add (f32x4.mul (local.get $p) (local.get $t)) (f32x4.splat (f32.const 1.333355815e-3))))
    (local.set $p (f32x4.add (f32x4.mul (local.get $p) (local.get $t)) (f32x4.splat (f32.const 9.618129108e-3))))
    (local.set $p (f32x4.add (f32x4.mul (local.get $p) (local.get $t)) (f32x4.splat (f32.const 5.550410866e-2))))
    (local.set $p (f32x4.add (f32x4.mul (local.get $p) (local.get $t)) (f32x4.splat (f32.const 2.402265070e-1))))
    (local.set $p (f32x4.add (f32x4.mul (local.get $p) (local.get $t)) (f32x4.splat (f32.const 6.931471806e-1))))
    (local.set $p (f32x4.add (f32x4.mul (local.get $p) (local.get $t)) (f32x4.splat (f32.const 1))))
    (local.set $p (f32x4.mul (local.get $p)
      (i32x4.shl (i32x4.add (i32x4.trunc_sat_f32x4_s (local.get $n)) (i32x4.splat (i32.const 127))) (i32.const 23))))
    (f32x4.div (f32x4.splat (f32.const 1)) (f32x4.add (f32x4.splat (f32.const 1)) (local.get $p))))

  ;; y = gelu(x), the tanh form.
  (func $gelu_forward (export "gelu_forward") (param $x i32) (param $y i32) (param $n i32)
    (local $v v128)
    (loop $fours
      (local.set $v (v128.load (local.get $x)))
      (v128.store (local.get $y) (f32x4.mul (local.get $v) (call $gate (local.get $v))))
      (local.set $x (i32.add (local.get $x) (i32.const 16)))
      (local.set $y (i32.add (local.get $y) (i32.const 16)))
      (br_if $fours (local.tee $n (i32.sub (local.get $n) (i32.const 4))))))

  ;; dx = dy gelu'(x) with gelu' = s + x s (1 - s) 2 sqrt(2/pi) (1 + 3 · 0.044715 x^2), s the gate.
  (func $gelu_backward (export "gelu_backward") (param $x i32) (param $dy i32) (param $dx i32) (param $n i32)
    (local $v v128) (local $s v128) (local $one v128)
    (local.set $one (f32x4.splat (f32.const 1)))
    (loop $fours
      (local.set $v (v128.load (local.get $x)))
      (local.set $s (call $gate (local.get $v)))
      (v128.store (local.get $dx) (f32x4.mul (v128.load (local.get $dy))
        (f32x4.add (local.get $s) (f32x4.mul (f32x4.mul (local.get $v) (f32x4.mul (local.get $s) (f32x4.sub (local.get $one) (local.get $s))))
          (f32x4.mul (f32x4.splat (f32.const 1.595769122)) (f32x4.add (local.get $one)
            (f32x4.mul (f32x4.splat (f32.const 0.134145)) (f32x4.mul (local.get $v) (local.get $v)))))))))
      (local.set $x (i32.add (local.get $x) (i32.const 16)))
      (local.set $dy (i32.add (local.get $dy) (i32.const 16)))
      (local.set $dx (i32.add (local.get $dx) (i32.const 16)))
      (br_if $fours (local.tee $n (i32.sub (local.get $n) (i32.const 4))))))

  ;; Two rounds of a 32-bit mixer with full avalanche (xor-shifts and odd multipliers).
  (func $mix (param $h v128) (result v128)
    (local.set $h (i32x4.mul (v128.xor (local.get $h) (i32x4.shr_u (local.get $h) (i32.const 16))) (i32x4.splat (i32.const 0x7feb352d))))
    (local.set $h (i32x4.mul (v128.xor (local.get $h) (i32x4.shr_u (local.get $h) (i32.const 15))) (i32x4.splat (i32.const 0x846ca68b))))
    (v128.xor (local.get $h) (i32x4.shr_u (local.get $h) (i32.const 16))))

  ;; y = scale x where the draw of element `first` + i is below the threshold, else 0. A draw depends on the two keys and
  ;; the element's number alone. At `bits` lie the lanes 0, 1, 2, 3.
  (func $dropout (export "dropout")
    (param $x i32) (param $y i32) (param $n i32) (param $first i32) (param $key i32) (param $second i32)
    (param $threshold i32) (param $scale f32) (param $lanes i32)
    (local $at v128) (local $a v128) (local $b v128) (local $t v128) (local $s v128)
    (local.set $at (i32x4.add (i32x4.splat (local.get $first)) (v128.load (local.get $lanes))))
    (local.set $a (i32x4.splat (local.get $key)))
    (local.set $b (i32x4.splat (local.get $second)))
    (local.set $t (i32x4.splat (local.get $threshold)))
    (local.set $s (f32x4.splat (local.get $scale)))
    (loop $fours
      (v128.store (local.get $y) (v128.and (f32x4.mul (local.get $s) (v128.load (local.get $x)))
        (i32x4.lt_u (call $mix (i32x4.add (call $mix (v128.xor (local.get $at) (local.get $a))) (local.get $b))) (local.get $t))))
      (local.set $at (i32x4.add (local.get $at) (i32x4.splat (i32.const 4))))
      (local.set $x (i32.add (local.get $x) (i32.const 16)))
      (local.set $y (i32.add (local.get $y) (i32.const 16)))
      (br_if $fours (local.tee $n (i32.sub (local.get $n) (i32.const 4))))))

  ;; The sum of four lanes.
  (func $across (param $v v128) (result f32)
    (f32.add (f32.add (f32x4.extract_lane 0 (local.get $v)) (f32x4.extract_lane 1 (local.get $v)))
      (f32.add (f32x4.extract_lane 2 (local.get $v)) (f32x4.extract_lane 3 (local.get $v)))))

  ;; Sum of a row.
  (func $sum (export "sum") (param $a i32) (param $n i32) (result f32)
    (local $s v128) (local $end i32)
    (local.set $s (f32x4.splat (f32.const 0)))
    (local.set $end (i32.add (local.get $a) (i32.shl (local.get $n) (i32.const 2))))
    (loop $fours
      (local.set $s (f32x4.add (local.get $s) (v128.load (local.get $a))))
      (br_if $fours (i32.lt_u (local.tee $a (i32.add (local.get $a) (i32.const 16))) (local.get $end))))
    (call $across (local.get $s)))

  ;; Sum of (a - shift)(b - mean).
  (func $product (export "product") (param $a i32) (param $b i32) (param $n i32) (param $shift f32) (param $mean f32) (result f32)
    (local $s v128) (local $u v128) (local $m v128) (local $end i32)
    (local.set $s (f32x4.splat (f32.const 0)))
    (local.set $u (f32x4.splat (local.get $shift)))
    (local.set $m (f32x4.splat (local.get $mean)))
    (local.set $end (i32.add (local.get $a) (i32.shl (local.get $n) (i32.const 2))))
    (loop $fours
      (local.set $s (f32x4.add (local.get $s) (f32x4.mul (f32x4.sub (v128.load (local.get $a)) (local.get $u))
        (f32x4.sub (v128.load (local.get $b)) (local.get $m)))))
      (local.set $b (i32.add (local.get $b) (i32.const 16)))
      (br_if $fours (i32.lt_u (local.tee $a (i32.add (local.get $a) (i32.const 16))) (local.get $end))))
    (call $across (local.get $s)))

  ;; y = p (a - s) + q (b - t) + r.
  (func $combine (export "combine")
    (param $a i32) (param $b i32) (param $y i32) (param $n i32)
    (param $p f32) (param $s f32) (param $q f32) (param $t f32) (param $r f32)
    (local $vp v128) (local $vs v128) (local $vq v128) (local $vt v128) (local $vr v128)
    (local.set $vp (f32x4.splat (local.get $p)))
    (local.set $vs (f32x4.splat (local.get $s)))
    (local.set $vq (f32x4.splat (local.get $q)))
    (local.set $vt (f32x4.splat (local.get $t)))
    (local.set $vr (f32x4.splat (local.get $r)))
    (loop $fours
      (v128.store (local.get $y) (f32x4.add (f32x4.add
        (f32x4.mul (local.get $vp) (f32x4.sub (v128.load (local.get $a)) (local.get $vs)))
        (f32x4.mul (local.get $vq) (f32x4.sub (v128.load (local.get $b)) (local.get $vt)))) (local.get $vr)))
      (local.set $a (i32.add (local.get $a) (i32.const 16)))
      (local.set $b (i32.add (local.get $b) (i32.const 16)))
      (local.set $y (i32.add (local.get $y) (i32.const 16)))
      (br_if $fours (local.tee $n (i32.sub (local.get $n) (i32.const 4)))))))
